// guard-host: what the kernel tells of the guarded processes beyond the supervisor's own quick readings.
// Their proportional shares (smaps_rollup), so that pages shared by several processes count once; read at
// most twice a second and only when the host says that it matters, because a reading walks all pages of a
// process. The pressure on memory (PSI), and limit, use and kills of the control group. Nothing is written.
#pragma once

#include <tetrad/base/guard_sensor.h>

#include <filesystem>
#include <optional>
#include <string_view>
#include <vector>

namespace tetrad::guard_host {

class GuardHost final : public GuardSensor {
 public:
  // `proc` and `groups`: other roots for tests.
  explicit GuardHost(std::filesystem::path proc = "/proc", std::filesystem::path groups = "/sys/fs/cgroup");

  Status probe(std::string& evidence) noexcept override;
  Status sample(const GuardRequest& request, GuardSample& sample) noexcept override;

 private:
  void read_shares(const GuardRequest& request);
  void read_group(GuardSample& sample) const;

  std::filesystem::path proc_, group_;
  std::vector<GuardShare> shares_;
  std::int64_t shares_ns_ = 0, tried_ns_ = 0;
};

// Anonymous + shared bytes, each page divided among its sharers, out of the text of smaps_rollup. Kernels
// before 5.9 tell Pss as a whole only: then nothing.
std::optional<std::uint64_t> parse_smaps_rollup(std::string_view text);

// avg10 of the "full" line of /proc/pressure/memory.
std::optional<double> parse_pressure(std::string_view text);

}  // namespace tetrad::guard_host

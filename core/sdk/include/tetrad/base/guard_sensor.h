// The interface of kind "guard": a sensor of the memory guard. A sensor reads and decides nothing. It lives
// in a helper process of its own, because a driver may hang inside the kernel: the supervisor reads what the
// helper published last and never waits for it. So a sensor may be slow, hang or crash without delaying a
// kill; all it loses is its say. No libtorch here.
//
// Sizes are bytes, times CLOCK_MONOTONIC in ns. What cannot be observed is std::nullopt or an absent row,
// never 0. One thread calls; the host bounds how often (period_secs of the request is a wish of the host, and
// a reading that burdens a driver should be repeated from memory rather than taken more than twice a second).
#pragma once

#include <tetrad/base/status.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace tetrad {

// A process for good: the number alone is reused. start_ticks is field 22 of /proc/<pid>/stat; 0 = unknown.
struct GuardProcess {
  std::int32_t pid = 0;
  std::uint64_t start_ticks = 0;
};

// Device memory of one process, of the guarded tree or not.
struct GuardDeviceRow {
  GuardProcess process;
  std::optional<std::uint64_t> bytes;  // nothing: the driver names the process but not its memory
};

struct GuardDevice {
  std::string uuid;
  std::string name;
  bool unified = false;  // its memory is the machine's: device and host bytes come out of one pool
  std::optional<std::uint64_t> total_bytes, used_bytes;  // of the device, all processes; used = total - free
  bool rows_known = false;                               // rows list every process that this caller may see
  std::vector<GuardDeviceRow> rows;
  std::uint32_t rows_dropped = 0;  // rows that made no sense (pid 0, more memory than there is)
  std::int64_t rows_ns = 0;        // when the rows were read
  std::optional<std::uint64_t> used_at_rows_bytes;  // used_bytes at that moment
};

// Anonymous and shared memory of one process of the tree with each shared page divided by the number of its
// users: summed over a tree, shared pages count once.
struct GuardShare {
  GuardProcess process;
  std::uint64_t proportional_bytes = 0;
};

struct GuardRequest {
  std::span<const GuardProcess> tree;  // the guarded processes, as of now
  bool want_shares = false;            // shared pages could decide: read them, at most twice a second
};

struct GuardSample {
  std::vector<GuardDevice> devices;
  std::vector<GuardShare> shares;  // empty: not read
  std::int64_t shares_ns = 0;
  std::optional<double> pressure_full_avg10;  // percent of time in which all tasks waited for memory
  std::optional<std::uint64_t> group_limit_bytes, group_used_bytes, group_oom_kills;  // our control group
  bool device_lost = false;  // a device fell off the bus or needs a reset; its memory is unknown
  std::string problem;       // one line; what is not observed and why. Empty: nothing to say
};

class GuardSensor {
 public:
  virtual ~GuardSensor() = default;

  // Called once, first. `evidence` is one line for `host doctor`: what is observed, and how that was found
  // out. Not ok: there is nothing to observe here, and `message` says why (a missing driver: unsupported).
  virtual Status probe(std::string& evidence) noexcept = 0;

  // One reading. Not ok: nothing could be read this time; the host asks again.
  virtual Status sample(const GuardRequest& request, GuardSample& sample) noexcept = 0;
};

}  // namespace tetrad

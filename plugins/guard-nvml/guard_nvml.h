// guard-nvml: device memory of every process, as NVIDIA's driver counts it. Observes for each GPU the memory
// in use (total - free; not on unified-memory machines, where the driver says "not supported") and the rows
// of its processes, which are read at most twice a second because they hold up the driver. Nothing is
// written.
//
// Unified memory is told by three signs together: the driver gives no memory total, the rows work, and either
// the device's name is one of the known integrated ones or it shares the CPU's address translation. A
// discrete card that says "not supported" is blind, not unified.
#pragma once

#include "nvml.h"

#include <tetrad/base/guard_sensor.h>
#include <tetrad/base/options.h>

#include <memory>
#include <string>
#include <vector>

namespace tetrad::guard_nvml {

class GuardNvml final : public GuardSensor {
 public:
  explicit GuardNvml(const Options& options);

  Status probe(std::string& evidence) noexcept override;
  Status sample(const GuardRequest& request, GuardSample& sample) noexcept override;

 private:
  struct Card {
    Device handle = nullptr;
    GuardDevice state;         // what was read last
    bool memory_works = true;  // false for good after "not supported"
    bool rows_work = true;
    std::string problem;
  };
  void read_memory(Card& card, GuardSample& sample);
  void read_rows(Card& card, GuardSample& sample);
  void judge_unified(Card& card) const;

  std::string name_;
  std::unique_ptr<Library> library_;
  std::vector<Card> cards_;
  std::int64_t rows_ns_ = 0;
};

// Whether a GPU of this name has no memory of its own.
bool integrated_name(const std::string& name);

}  // namespace tetrad::guard_nvml

// What each phase of a training run needs, measured: start, model_loaded, batch_ready, zero_grad_done,
// forward_done, backward_done, optimizer_step_done. Host figures of the process, allocator and device figures
// where there is a device, and the run's own count by category. Of phases that come again, the figures of the
// largest are kept beside those of the first two steps.
#pragma once

#include <tetrad/torch/device_runtime.h>

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace tetrad::train {

struct CategoryBytes {
  std::int64_t weights = 0, gradients = 0, m = 0, v = 0, master = 0, activations = 0, workspace = 0;
  std::int64_t sum() const noexcept { return weights + gradients + m + v + master + activations + workspace; }
};

class MemoryPhases {
 public:
  void record(std::int64_t step, const std::string& phase, const DeviceMemory& device,
              const CategoryBytes& categories);

  nlohmann::json json() const;
  std::string text() const;  // a table of the phases kept, for people
  // Host bytes now, as the last record() saw them.
  std::int64_t host_bytes() const noexcept { return last_host_; }

 private:
  struct Entry {
    std::int64_t step = 0;
    std::string phase;
    std::int64_t host = 0, host_peak = 0;
    DeviceMemory device;
    CategoryBytes categories;
  };
  std::vector<Entry> entries_;
  std::int64_t last_host_ = 0, host_peak_ = 0;
};

}  // namespace tetrad::train

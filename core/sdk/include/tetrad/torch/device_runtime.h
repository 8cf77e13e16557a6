// DeviceRuntime: what the engine asks of an accelerator. The CUDA one lives in libtetrad_cuda.so, which is
// loaded after libtorch_cuda when a run uses a CUDA device, so that a machine without one installs and loads
// nothing of it.
#pragma once

#include <cstdint>
#include <string>

namespace tetrad {

struct DeviceInfo {
  std::string name;          // e.g. "NVIDIA H100 80GB HBM3"
  int major = 0, minor = 0;  // compute capability
  std::int64_t total_bytes = 0;
  bool unified_memory = false;  // device and host share memory (integrated GPU): never add the two up
};

struct DeviceMemory {
  std::int64_t live_bytes = 0;       // handed out by libtorch's caching allocator
  std::int64_t live_peak_bytes = 0;  // as torch.cuda.max_memory_allocated counts
  std::int64_t reserved_bytes = 0;   // held by the allocator
  std::int64_t reserved_peak_bytes = 0;
  std::int64_t device_used_bytes = 0;  // the device's own figure, every process included
  std::int64_t workspace_bytes = 0;    // of live_bytes: what cuBLAS's handles hold
};

class DeviceRuntime {
 public:
  virtual ~DeviceRuntime() = default;
  // Each throws tetrad::Error on a device error.
  virtual DeviceInfo info(int device) = 0;
  virtual DeviceMemory memory(int device) = 0;
  virtual void reset_peak(int device) = 0;
  virtual void synchronize(int device) = 0;
};

// The one exported function of libtetrad_cuda.so.
inline constexpr const char* kDeviceRuntimeEntry = "tetrad_device_runtime_v1";
using DeviceRuntimeEntry = DeviceRuntime* (*)() noexcept;

}  // namespace tetrad

// The options that every AdamW plugin has, and its answer about devices.
#pragma once

#include <tetrad/base/options.h>
#include <tetrad/torch/optimizer.h>

#include <string>

#include "optim/adam_math.h"

namespace tetrad::optim {

inline Hyper read_hyper(const Options& options) {
  return {options.get<double>("beta1"), options.get<double>("beta2"), options.get<double>("eps")};
}

// Whether the option `offload` moves the state to pinned host memory.
inline bool read_offload(const Options& options) {
  return options.get<std::string>("offload") == "pinned";
}

// `compute` names the arithmetic, the same on every device.
inline Capability device_capability(const OptimizerSetup& setup, bool has_cuda, const char* compute,
                                    bool offload) noexcept {
  if (setup.device.is_cpu() && offload)
    return {Support::unsupported, "",
            "offload: pinned moves m and v from a CUDA device to host memory, and on the CPU they are there "
            "already; set offload: none"};
  if (setup.device.is_cuda() && setup.unified_memory && offload)
    return {Support::unsupported, "",
            "offload: pinned would free nothing here, where device and host share one memory, and would cost "
            "the copies; set offload: none"};
  if (setup.device.is_cpu()) return {Support::native, compute, ""};
  if (setup.device.is_cuda() && has_cuda) return {Support::native, compute, ""};
  if (setup.device.is_cuda())
    return {Support::unsupported, "",
            "this file of the plugin has no CUDA kernels; install its .cuda.so beside it"};
  return {Support::unsupported, "", "device " + setup.device.str() + " is neither a CPU nor a CUDA device"};
}

}  // namespace tetrad::optim

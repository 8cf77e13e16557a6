// Which device a run uses, and its runtime. The engine links libtorch's CPU half alone; CUDA comes in here,
// on demand, before anything asks libtorch whether it has CUDA (that answer is cached for the life of the
// process).
#pragma once

#include <c10/core/Device.h>
#include <tetrad/torch/device_runtime.h>

#include <cstdint>
#include <string>

namespace tetrad::device {

struct Choice {
  at::Device device = at::kCPU;
  DeviceRuntime* runtime = nullptr;  // null on the CPU; lives as long as the process
  std::string note;                  // what `auto` took and why; empty when the config named the device
  std::int64_t allocator_limit = 0;  // bytes that the caching allocator is capped at; 0: it is not
};

// name: "auto", "cpu", "cuda" or "cuda:N". Throws Error(runtime) naming what is missing when CUDA is asked
// for by name and cannot be had, or when there is no device N.
Choice choose(const std::string& name);

// libtorch's caching allocator refuses from now on what would make it hold more than this share of the device
// (memory_cap.h). Throws Error on a device error; nothing happens on the CPU.
void cap_memory(const Choice& choice, double fraction);

// What the device is, wherever it is: "NVIDIA H100 80GB HBM3 sm_90", "cpu AVX512". Results of verifications
// are kept under this name.
std::string hardware_name(const Choice& choice);

}  // namespace tetrad::device

// What `host doctor --verify` runs: every kernel that a run on this device would use, against plain code on
// the CPU, in a handful of processes (a CUDA context costs a second). One group is one process; it says what
// came of each kernel in its figures, and a group that crashes or hangs counts against all its kernels.
//   codec        the SIMD codec and its products against the reference (CPU)
//   attention    core/ops attention, queries fewer than keys included, against fp64
//   sampling     a device's choice of tokens against the host's, on a device
//   <plugin>     a linear backend's weights, planes, products, dX and dW on both paths; a KV policy's cache
#pragma once

#include "check/case.h"
#include "check/target.h"

#include <string>
#include <vector>

namespace tetrad::check {

struct VerifyGroup {
  std::string owner;                 // "core" or a plugin's id
  std::vector<std::string> kernels;  // what it looks at, in order
  Case run;                          // figures: {"build_id": .., "kernels": [{"kernel", "verdict", "detail",
                                     // "seconds"}]}; verdict: pass | fail | skip
};

// `targets`: plugins with their options, for the device that they name; they must outlive the groups.
// `device` is cpu, cuda or cuda:N.
std::vector<VerifyGroup> verify_groups(const std::vector<Target>& targets, const std::string& device);

// The build id of the file that the target's device loads, without loading it; "none" where it has none.
std::string plugin_build_id(const Target& target);

// Figures {"device": "NVIDIA H100 80GB HBM3 sm_90" | "cpu AVX512", "torch_device": "cuda:0"}: the name under
// which results are kept. Fails where the device cannot be had.
Case device_case(const std::string& device);

}  // namespace tetrad::check

// Launch helpers of the optimizers' CUDA files.
#pragma once

#include <cuda_runtime_api.h>
#include <tetrad/base/error.h>

#include <algorithm>
#include <cstdint>
#include <string>

namespace tetrad::optim::cuda {

inline constexpr int kThreads = 256;
inline constexpr std::int64_t kMaxGrid = 1 << 20;  // kernels stride over what is beyond

inline unsigned grid_for(std::int64_t threads) {
  return static_cast<unsigned>(std::clamp<std::int64_t>((threads + kThreads - 1) / kThreads, 1, kMaxGrid));
}

inline void check_launch(const char* what) {
  const cudaError_t status = cudaGetLastError();
  if (status != cudaSuccess)
    throw Error(std::string("[optimizer] ") + what +
                ": the device refused the kernel: " + cudaGetErrorString(status));
}

}  // namespace tetrad::optim::cuda

// What the kernels of core/ops share: vectors of eight elements, sums over a block, and the check of a
// launch.
#pragma once

#include <cuda_runtime_api.h>
#include <tetrad/base/error.h>
#include <tetrad/nvfp4/cuda/early_launch.h>

#include <algorithm>
#include <string>
#include <type_traits>

#include "ops/cuda/kernels.h"

namespace tetrad::ops::cuda {

using nvfp4::from_float;
using nvfp4::to_float;
using nvfp4::cuda::launch_early;
using nvfp4::cuda::let_next_start;
using nvfp4::cuda::wait_for_previous;

inline void check_launch(const char* what) {
  const cudaError_t status = cudaGetLastError();
  if (status != cudaSuccess)
    throw Error(std::string("[ops] ") + what +
                ": the device refused the kernel: " + cudaGetErrorString(status));
}

inline bool aligned16(const void* p) {
  return reinterpret_cast<std::uintptr_t>(p) % 16 == 0;
}

__device__ inline std::int64_t value_of(const Count& count) {
  return (count.device != nullptr ? *count.device : 0) + count.host;
}

template <class T, int kCount>
struct alignas(sizeof(T) * kCount) Vector {
  T element[kCount];
};

template <class T, int kCount>
__device__ inline Vector<T, kCount> load(const T* p) {
  return *reinterpret_cast<const Vector<T, kCount>*>(p);
}
template <class T, int kCount>
__device__ inline void store(T* p, const Vector<T, kCount>& v) {
  *reinterpret_cast<Vector<T, kCount>*>(p) = v;
}

template <class T>
__device__ inline float rounded(float v) {
  return to_float(from_float<T>(v));
}

__device__ inline float warp_sum(float v) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) v += __shfl_xor_sync(0xFFFFFFFFu, v, step);
  return v;
}

// The sum over the block, in every thread; in the order of the lanes, then of the warps.
__device__ inline float block_sum(float v) {
  __shared__ float of_warp[32];
  v = warp_sum(v);
  const int warps = (static_cast<int>(blockDim.x) + 31) / 32;
  __syncthreads();  // of_warp may still be read from the call before
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = v;
  __syncthreads();
  float sum = 0.0f;
  for (int w = 0; w < warps; ++w) sum += of_warp[w];
  return sum;
}

}  // namespace tetrad::ops::cuda

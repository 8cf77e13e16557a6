// The two largest of some values, over a block.
#pragma once

#include "ops/cuda/device.cuh"

namespace tetrad::ops::cuda {

__device__ inline Best better(const Best& a, const Best& b) {
  Best out;
  const bool a_wins = a.top1 > b.top1 || (a.top1 == b.top1 && a.id < b.id);
  out.id = a_wins ? a.id : b.id;
  out.top1 = a_wins ? a.top1 : b.top1;
  out.top2 = fmaxf(fminf(a.top1, b.top1), fmaxf(a.top2, b.top2));
  out.finite = a.finite & b.finite;
  return out;
}

__device__ inline Best empty_best() {
  const float least = nvfp4::bits_float(0xFF800000u);
  return {0x7FFFFFFF, 1, least, least};
}

__device__ inline Best best_of_one(std::int64_t id, float value) {
  const bool finite = nvfp4::is_finite_bits(nvfp4::abs_bits(value));
  return {static_cast<std::int32_t>(id), finite ? 1 : 0, value, empty_best().top2};
}

// The best over a block of kThreads, in thread 0.
template <int kThreads>
__device__ Best block_best(Best mine) {
  __shared__ Best of_warp[kThreads / 32];
#pragma unroll
  for (int step = 16; step > 0; step /= 2) {
    Best other;
    other.id = __shfl_xor_sync(0xFFFFFFFFu, mine.id, step);
    other.finite = __shfl_xor_sync(0xFFFFFFFFu, mine.finite, step);
    other.top1 = __shfl_xor_sync(0xFFFFFFFFu, mine.top1, step);
    other.top2 = __shfl_xor_sync(0xFFFFFFFFu, mine.top2, step);
    mine = better(mine, other);
  }
  __syncthreads();
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = mine;
  __syncthreads();
  if (threadIdx.x == 0) {
    for (int w = 1; w < kThreads / 32; ++w) mine = better(mine, of_warp[w]);
  }
  return mine;
}

}  // namespace tetrad::ops::cuda

#include "ops/cuda/device.cuh"

namespace tetrad::ops::cuda {
namespace {

constexpr int kThreads = 512;

__device__ Best better(const Best& a, const Best& b) {
  Best out;
  const bool a_wins = a.top1 > b.top1 || (a.top1 == b.top1 && a.id < b.id);
  out.id = a_wins ? a.id : b.id;
  out.top1 = a_wins ? a.top1 : b.top1;
  out.top2 = fmaxf(fminf(a.top1, b.top1), fmaxf(a.top2, b.top2));
  out.finite = a.finite & b.finite;
  return out;
}

__device__ Best empty_best() {
  const float least = nvfp4::bits_float(0xFF800000u);
  return {0x7FFFFFFF, 1, least, least};
}

// The best over the block, in thread 0.
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

__global__ void __launch_bounds__(kThreads)
    best_kernel(const float* values, std::int64_t n, Best* best, Best* partial, unsigned* arrived) {
  Best mine = empty_best();
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < n;
       i += static_cast<std::int64_t>(gridDim.x) * kThreads) {
    const float v = values[i];
    const bool finite = nvfp4::is_finite_bits(nvfp4::abs_bits(v));
    mine = better(mine, {static_cast<std::int32_t>(i), finite ? 1 : 0, v, empty_best().top2});
  }
  mine = block_best(mine);
  __shared__ bool last;
  if (threadIdx.x == 0) {
    partial[blockIdx.x] = mine;
    __threadfence();
    last = atomicInc(arrived, gridDim.x - 1) == gridDim.x - 1;  // begins anew at 0 for the next launch
  }
  __syncthreads();
  if (!last) return;
  __threadfence();
  mine = empty_best();
  for (unsigned b = threadIdx.x; b < gridDim.x; b += kThreads) {
    const volatile Best* from = partial + b;
    mine = better(mine, {from->id, from->finite, from->top1, from->top2});
  }
  mine = block_best(mine);
  if (threadIdx.x == 0) *best = mine;
}

}  // namespace

void best_of(const float* values, std::int64_t n, Best* best, void* workspace, Stream stream) {
  if (n < 1 || n > 0x7FFFFFFE) throw Error("[ops] the best of " + std::to_string(n) + " values");
  auto* partial = static_cast<Best*>(workspace);
  const auto blocks =
      static_cast<unsigned>(std::min<std::int64_t>(kBestBlocks, (n + kThreads - 1) / kThreads));
  best_kernel<<<blocks, kThreads, 0, stream>>>(values, n, best, partial,
                                               reinterpret_cast<unsigned*>(partial + kBestBlocks));
  check_launch("argmax");
}

}  // namespace tetrad::ops::cuda

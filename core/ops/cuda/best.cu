#include "ops/cuda/best.cuh"

namespace tetrad::ops::cuda {
namespace {

constexpr int kThreads = 512;

__global__ void __launch_bounds__(kThreads)
    best_kernel(const float* values, std::int64_t n, Best* best, Best* partial, unsigned* arrived) {
  Best mine = empty_best();
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < n;
       i += static_cast<std::int64_t>(gridDim.x) * kThreads)
    mine = better(mine, best_of_one(i, values[i]));
  mine = block_best<kThreads>(mine);
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
  mine = block_best<kThreads>(mine);
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

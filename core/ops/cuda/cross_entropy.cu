#include "ops/cuda/device.cuh"
#include "ops/cuda/train_kernels.h"
#include "ops/cuda/train_math.h"

namespace tetrad::ops::cuda {
namespace {

constexpr unsigned kThreads = 512;

__device__ Softmax warp_joined(Softmax s) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2)
    s = joined(s, {__shfl_xor_sync(0xFFFFFFFFu, s.largest, step), __shfl_xor_sync(0xFFFFFFFFu, s.sum, step)});
  return s;
}

// One block for each row.
template <class T, int kVector>
__global__ void __launch_bounds__(kThreads)
    observe_kernel(const T* logits, std::int64_t n, const std::int64_t* targets, std::int64_t first,
                   float* largest, float* sum, float* at_target) {
  __shared__ Softmax of_warp[kThreads / 32];
  const std::int64_t row = blockIdx.x;
  const T* const values = logits + row * n;
  Softmax mine = empty_softmax();
  for (std::int64_t i = static_cast<std::int64_t>(threadIdx.x) * kVector; i < n;
       i += static_cast<std::int64_t>(kThreads) * kVector) {
    const Vector<T, kVector> v = load<T, kVector>(values + i);
    Softmax here{to_float(v.element[0]), 0.0f};
#pragma unroll
    for (int e = 1; e < kVector; ++e) here.largest = fmaxf(here.largest, to_float(v.element[e]));
    // -inf alone: nothing to add. A NaN makes the sum NaN although fmaxf passes over it.
    if (here.largest > -INFINITY || here.largest != here.largest) {
#pragma unroll
      for (int e = 0; e < kVector; ++e) here.sum += exponential(to_float(v.element[e]) - here.largest);
      mine = joined(mine, here);
    } else {
#pragma unroll
      for (int e = 0; e < kVector; ++e)
        if (isnan(to_float(v.element[e]))) mine = {to_float(v.element[e]), to_float(v.element[e])};
    }
  }
  mine = warp_joined(mine);
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = mine;
  __syncthreads();
  if (threadIdx.x != 0) return;
  Softmax all = {largest[row], sum[row]};
  for (unsigned w = 0; w < kThreads / 32; ++w) all = joined(all, of_warp[w]);
  largest[row] = all.largest;
  sum[row] = all.sum;
  const std::int64_t target = targets[row] - first;
  if (target >= 0 && target < n) at_target[row] = to_float(values[target]);
}

template <class T, int kVector>
__global__ void __launch_bounds__(kThreads)
    gradient_kernel(T* logits, std::int64_t n, const std::int64_t* targets, std::int64_t first,
                    const float* largest, const float* sum, float scale) {
  const std::int64_t row = blockIdx.x;
  T* const values = logits + row * n;
  const float log_sum_exp = logf(sum[row]) + largest[row];
  const std::int64_t target = targets[row] - first;
  for (std::int64_t i = static_cast<std::int64_t>(threadIdx.x) * kVector; i < n;
       i += static_cast<std::int64_t>(kThreads) * kVector) {
    Vector<T, kVector> v = load<T, kVector>(values + i);
#pragma unroll
    for (int e = 0; e < kVector; ++e)
      v.element[e] =
          from_float<T>(entropy_gradient(to_float(v.element[e]), log_sum_exp, i + e == target, scale));
    store(values + i, v);
  }
}

}  // namespace

template <class T>
void cross_entropy_observe(const T* logits, std::int64_t rows, std::int64_t n, const std::int64_t* targets,
                           std::int64_t first, float* largest, float* sum, float* at_target, Stream stream) {
  if (rows <= 0 || n <= 0) return;
  const auto blocks = static_cast<unsigned>(rows);
  if (n % 8 == 0 && aligned16(logits))
    observe_kernel<T, 8><<<blocks, kThreads, 0, stream>>>(logits, n, targets, first, largest, sum, at_target);
  else
    observe_kernel<T, 1><<<blocks, kThreads, 0, stream>>>(logits, n, targets, first, largest, sum, at_target);
  check_launch("cross entropy");
}

template <class T>
void cross_entropy_gradient(T* logits, std::int64_t rows, std::int64_t n, const std::int64_t* targets,
                            std::int64_t first, const float* largest, const float* sum, float scale,
                            Stream stream) {
  if (rows <= 0 || n <= 0) return;
  const auto blocks = static_cast<unsigned>(rows);
  if (n % 8 == 0 && aligned16(logits))
    gradient_kernel<T, 8><<<blocks, kThreads, 0, stream>>>(logits, n, targets, first, largest, sum, scale);
  else
    gradient_kernel<T, 1><<<blocks, kThreads, 0, stream>>>(logits, n, targets, first, largest, sum, scale);
  check_launch("gradient of cross entropy");
}

#define TETRAD_INSTANTIATE(T)                                                                                \
  template void cross_entropy_observe<T>(const T*, std::int64_t, std::int64_t, const std::int64_t*,          \
                                         std::int64_t, float*, float*, float*, Stream);                      \
  template void cross_entropy_gradient<T>(T*, std::int64_t, std::int64_t, const std::int64_t*, std::int64_t, \
                                          const float*, const float*, float, Stream);
TETRAD_INSTANTIATE(Bf16)
TETRAD_INSTANTIATE(Fp16)
#undef TETRAD_INSTANTIATE

}  // namespace tetrad::ops::cuda

// Contraction is off (-fmad=false): the roundings are those of separate operations.
#include "ops/cuda/device.cuh"
#include "ops/cuda/reduce.cuh"
#include "ops/cuda/train_kernels.h"
#include "ops/cuda/train_math.h"

namespace tetrad::ops::cuda {
namespace {

constexpr std::int64_t kMostColumns = 8192;  // 1024 threads of 8

// A block takes every gridDim-th row, a thread eight columns of each: it sums its part of the weight's
// gradient in registers. The next row is on its way while this one is reduced.
template <class T>
__global__ void __launch_bounds__(1024)
    rms_norm_backward_kernel(const T* dy, const T* x, const T* weight, const T* passing, float eps,
                             std::int64_t rows, std::int64_t n, T* dx, float* partial) {
  using Eight = Vector<T, 8>;
  __shared__ float2 of_warp[2][32];
  const std::int64_t column = static_cast<std::int64_t>(threadIdx.x) * 8;
  const bool inside = column < n;
  const int warps = (static_cast<int>(blockDim.x) + 31) / 32;
  Eight w{}, value{}, up{};
  float dweight[8] = {};
  std::int64_t row = blockIdx.x;
  if (inside) {
    w = load<T, 8>(weight + column);
    value = load<T, 8>(x + row * n + column);
    up = load<T, 8>(dy + row * n + column);
  }
  for (int turn = 0; row < rows; row += gridDim.x, turn ^= 1) {
    const std::int64_t next = row + gridDim.x;
    Eight next_value{}, next_up{}, by{};
    if (inside && next < rows) {
      next_value = load<T, 8>(x + next * n + column);
      next_up = load<T, 8>(dy + next * n + column);
    }
    if (inside && passing != nullptr) by = load<T, 8>(passing + row * n + column);
    float squares = 0.0f, along = 0.0f;
#pragma unroll
    for (int e = 0; e < 8; ++e) {
      const float v = to_float(value.element[e]);
      squares += v * v;
      along += to_float(up.element[e]) * to_float(w.element[e]) * v;
    }
    squares = warp_sum(squares);
    along = warp_sum(along);
    if (threadIdx.x % 32 == 0) of_warp[turn][threadIdx.x / 32] = make_float2(squares, along);
    __syncthreads();  // one for each row: of_warp of the row before last is no longer read
    squares = along = 0.0f;
    for (int i = 0; i < warps; ++i) {
      squares += of_warp[turn][i].x;
      along += of_warp[turn][i].y;
    }
    const float count = static_cast<float>(n);
    const float inverse = rsqrtf(squares / count + eps);
    along = along / count * inverse;
    if (inside) {
      Eight out;
#pragma unroll
      for (int e = 0; e < 8; ++e) {
        const NormElement g = rms_norm_gradient(to_float(up.element[e]), to_float(value.element[e]),
                                                to_float(w.element[e]), inverse, along);
        dweight[e] += g.dweight;
        out.element[e] = from_float<T>(g.dx);
        if (passing != nullptr)
          out.element[e] = from_float<T>(to_float(out.element[e]) + to_float(by.element[e]));
      }
      store(dx + row * n + column, out);
    }
    value = next_value;
    up = next_up;
  }
  if (!inside) return;
#pragma unroll
  for (int e = 0; e < 8; ++e) partial[static_cast<std::int64_t>(blockIdx.x) * n + column + e] = dweight[e];
}

template <class T, int kVector>
__global__ void silu_mul_backward_kernel(T* dh, T* gate, T* up, std::int64_t n) {
  const std::int64_t i = (static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * kVector;
  if (i >= n) return;
  Vector<T, kVector> d = load<T, kVector>(dh + i), g = load<T, kVector>(gate + i),
                     u = load<T, kVector>(up + i);
#pragma unroll
  for (int e = 0; e < kVector; ++e) {
    const SiluMulElement r =
        silu_mul_gradient<T>(to_float(d.element[e]), to_float(g.element[e]), to_float(u.element[e]));
    d.element[e] = from_float<T>(r.activated);
    g.element[e] = from_float<T>(r.dgate);
    u.element[e] = from_float<T>(r.dup);
  }
  store(dh + i, d);
  store(gate + i, g);
  store(up + i, u);
}

unsigned norm_threads(std::int64_t n) {
  return static_cast<unsigned>((n / 8 + 31) / 32 * 32);
}

// As many blocks as run at once: 64 registers a thread leave room for 1,024 threads.
std::int64_t norm_blocks(std::int64_t rows, std::int64_t n) {
  return std::min<std::int64_t>(rows, processors() * std::clamp(1024u / norm_threads(n), 1u, 16u));
}

}  // namespace

bool takes_norm_backward(std::int64_t n) {
  return n > 0 && n % 8 == 0 && n <= kMostColumns;
}

std::int64_t norm_backward_workspace(std::int64_t rows, std::int64_t n) {
  return norm_blocks(rows, n) * n;
}

template <class T>
void rms_norm_backward(const T* dy, const T* x, const T* weight, const T* passing, double eps,
                       std::int64_t rows, std::int64_t n, T* dx, float* dweight, float* workspace,
                       Stream stream) {
  if (!takes_norm_backward(n))
    throw Error("[ops] gradient of a norm over " + std::to_string(n) + " elements: it takes multiples of 8");
  if (rows <= 0) return;
  const std::int64_t blocks = norm_blocks(rows, n);
  rms_norm_backward_kernel<T><<<static_cast<unsigned>(blocks), norm_threads(n), 0, stream>>>(
      dy, x, weight, passing, static_cast<float>(eps), rows, n, dx, workspace);
  check_launch("gradient of a norm");
  sum_columns(workspace, blocks, n, dweight, stream);
}

template <class T>
void silu_mul_backward(T* dh, T* gate, T* up, std::int64_t n, Stream stream) {
  if (n <= 0) return;
  constexpr unsigned kThreads = 256;
  const auto blocks = [](std::int64_t threads) {
    return static_cast<unsigned>((threads + kThreads - 1) / kThreads);
  };
  if (n % 8 == 0 && aligned16(dh) && aligned16(gate) && aligned16(up))
    silu_mul_backward_kernel<T, 8><<<blocks(n / 8), kThreads, 0, stream>>>(dh, gate, up, n);
  else
    silu_mul_backward_kernel<T, 1><<<blocks(n), kThreads, 0, stream>>>(dh, gate, up, n);
  check_launch("gradient of silu");
}

#define TETRAD_INSTANTIATE(T)                                                                      \
  template void rms_norm_backward<T>(const T*, const T*, const T*, const T*, double, std::int64_t, \
                                     std::int64_t, T*, float*, float*, Stream);                    \
  template void silu_mul_backward<T>(T*, T*, T*, std::int64_t, Stream);
TETRAD_INSTANTIATE(Bf16)
TETRAD_INSTANTIATE(Fp16)
#undef TETRAD_INSTANTIATE

}  // namespace tetrad::ops::cuda

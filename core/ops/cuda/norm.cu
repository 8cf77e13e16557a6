// Contraction is off (-fmad=false): the roundings are those of separate operations.
#include "ops/cuda/device.cuh"

namespace tetrad::ops::cuda {
namespace {

// One block per row.
template <class T, int kVector>
__global__ void add_rms_norm_kernel(const T* x, const T* delta, const T* weight, float eps, std::int64_t n,
                                    T* sum, T* y) {
  let_next_start();
  wait_for_previous();
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * n;
  const std::int64_t first = static_cast<std::int64_t>(threadIdx.x) * kVector;
  const std::int64_t step = static_cast<std::int64_t>(blockDim.x) * kVector;
  float squares = 0.0f;
  for (std::int64_t i = first; i < n; i += step) {
    Vector<T, kVector> v = load<T, kVector>(x + row + i);
    if (delta != nullptr) {
      const Vector<T, kVector> d = load<T, kVector>(delta + row + i);
#pragma unroll
      for (int e = 0; e < kVector; ++e)
        v.element[e] = from_float<T>(to_float(v.element[e]) + to_float(d.element[e]));
      store(sum + row + i, v);
    }
#pragma unroll
    for (int e = 0; e < kVector; ++e) {
      const float value = to_float(v.element[e]);
      squares += value * value;
    }
  }
  const float inverse = rsqrtf(block_sum(squares) / static_cast<float>(n) + eps);
  const T* from = delta != nullptr ? sum : x;  // each thread reads what it wrote itself
  for (std::int64_t i = first; i < n; i += step) {
    const Vector<T, kVector> v = load<T, kVector>(from + row + i);
    const Vector<T, kVector> w = load<T, kVector>(weight + i);
    Vector<T, kVector> out;
#pragma unroll
    for (int e = 0; e < kVector; ++e)
      out.element[e] = from_float<T>(rounded<T>(to_float(v.element[e]) * inverse) * to_float(w.element[e]));
    store(y + row + i, out);
  }
}

template <class T, int kVector>
__global__ void silu_mul_kernel(const T* gate, const T* up, std::int64_t n, T* out) {
  let_next_start();
  wait_for_previous();
  const std::int64_t i = (static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * kVector;
  if (i >= n) return;
  const Vector<T, kVector> g = load<T, kVector>(gate + i), u = load<T, kVector>(up + i);
  Vector<T, kVector> result;
#pragma unroll
  for (int e = 0; e < kVector; ++e) {
    const float value = to_float(g.element[e]);
    const float silu = rounded<T>(value / (1.0f + expf(-value)));
    result.element[e] = from_float<T>(silu * to_float(u.element[e]));
  }
  store(out + i, result);
}

// Elements a thread takes at a time.
template <class T, class Run>
void by_vector(bool eight, Run run) {
  if (eight)
    run(std::integral_constant<int, 8>{});
  else
    run(std::integral_constant<int, 1>{});
}

}  // namespace

template <class T>
void add_rms_norm(const T* x, const T* delta, const T* weight, double eps, std::int64_t rows, std::int64_t n,
                  T* sum, T* y, Stream stream) {
  if (rows <= 0 || n <= 0) return;
  const bool eight = n % 8 == 0 && aligned16(x) && aligned16(weight) && aligned16(y) &&
                     (delta == nullptr || (aligned16(delta) && aligned16(sum)));
  by_vector<T>(eight, [&](auto vector) {
    const std::int64_t wanted = (n + vector - 1) / vector;
    const auto threads = static_cast<unsigned>(std::min<std::int64_t>((wanted + 31) / 32 * 32, 1024));
    launch_early(add_rms_norm_kernel<T, vector>, static_cast<unsigned>(rows), threads, 0, stream, x, delta,
                 weight, static_cast<float>(eps), n, sum, y);
  });
  check_launch("rms norm");
}

template <class T>
void silu_mul(const T* gate, const T* up, std::int64_t n, T* out, Stream stream) {
  if (n <= 0) return;
  const bool eight = n % 8 == 0 && aligned16(gate) && aligned16(up) && aligned16(out);
  by_vector<T>(eight, [&](auto vector) {
    const std::int64_t threads = n / vector;
    launch_early(silu_mul_kernel<T, vector>, static_cast<unsigned>((threads + 255) / 256), 256, 0, stream,
                 gate, up, n, out);
  });
  check_launch("silu");
}

#define TETRAD_INSTANTIATE(T)                                                                             \
  template void add_rms_norm<T>(const T*, const T*, const T*, double, std::int64_t, std::int64_t, T*, T*, \
                                Stream);                                                                  \
  template void silu_mul<T>(const T*, const T*, std::int64_t, T*, Stream);
TETRAD_INSTANTIATE(Bf16)
TETRAD_INSTANTIATE(Fp16)
#undef TETRAD_INSTANTIATE

}  // namespace tetrad::ops::cuda

// Compiled once per vector target by foreach_target. The end of a row that does not fill a vector goes
// through a padded copy and the same code.
#include "ops/simd_rows.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/simd_rows.cpp"
#include "nvfp4/simd_targets.h"  // before Highway: it says which targets to leave out

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <hwy/contrib/math/math-inl.h>

#include "ops/simd_values.h"

HWY_BEFORE_NAMESPACE();
namespace tetrad::ops::HWY_NAMESPACE {

constexpr std::int64_t kMaxLanes = 16;

// The last elements of up to three rows, fewer than a vector, as whole vectors with zeros behind them.
template <class T>
struct Tail {
  explicit Tail(std::int64_t count) : bytes(static_cast<std::size_t>(count) * sizeof(T)) {}
  const T* in(const T* from, int slot) {
    std::fill(buffer[slot], buffer[slot] + kMaxLanes, T{});
    std::memcpy(buffer[slot], from, bytes);
    return buffer[slot];
  }
  void out(T* to, int slot) const { std::memcpy(to, buffer[slot], bytes); }
  T buffer[3][kMaxLanes];
  std::size_t bytes;
};

std::int64_t lanes() {
  return static_cast<std::int64_t>(hn::Lanes(F()));
}

// x, or x + y rounded to T, which is then stored.
template <class T>
HWY_INLINE V residual(const T* x, const T* y, T* sum) {
  const V v = load(x);
  if (y == nullptr) return v;
  const V total = rounded_to(hn::Add(v, load(y)), static_cast<const T*>(nullptr));
  store(total, sum);
  return total;
}

template <class T>
void squares(const T* x, const T* y, std::int64_t n, T* sum, float* out) {
  const std::int64_t step = lanes(), whole = n / step * step;
  for (std::int64_t i = 0; i < whole; i += step) {
    const V v = residual(x + i, y == nullptr ? nullptr : y + i, y == nullptr ? nullptr : sum + i);
    store(hn::Mul(v, v), out + i);
  }
  if (whole == n) return;
  Tail<T> tail(n - whole);
  const V v = residual(tail.in(x + whole, 0), y == nullptr ? nullptr : tail.in(y + whole, 1), tail.buffer[2]);
  if (y != nullptr) tail.out(sum + whole, 2);
  Tail<float> wide(n - whole);
  store(hn::Mul(v, v), wide.buffer[0]);
  wide.out(out + whole, 0);
}

template <class T>
void scale(const T* x, float inverse, const T* weight, std::int64_t n, T* out) {
  const std::int64_t step = lanes(), whole = n / step * step;
  const auto body = [inverse](const T* a, const T* w, T* o) HWY_ATTR {
    const V normed = rounded_to(hn::Mul(load(a), hn::Set(F(), inverse)), static_cast<const T*>(nullptr));
    store(hn::Mul(normed, load(w)), o);
  };
  for (std::int64_t i = 0; i < whole; i += step) body(x + i, weight + i, out + i);
  if (whole == n) return;
  Tail<T> tail(n - whole);
  body(tail.in(x + whole, 0), tail.in(weight + whole, 1), tail.buffer[2]);
  tail.out(out + whole, 2);
}

template <class T>
void rms_norm(const T* x, const T* y, const T* weight, std::int64_t n, float eps, T* sum, T* out) {
  const F df;
  const std::int64_t step = lanes(), whole = n / step * step;
  V squared = hn::Zero(df);
  for (std::int64_t i = 0; i < whole; i += step) {
    const V v = residual(x + i, y == nullptr ? nullptr : y + i, y == nullptr ? nullptr : sum + i);
    squared = hn::MulAdd(v, v, squared);
  }
  if (whole < n) {
    Tail<T> tail(n - whole);
    const V v =
        residual(tail.in(x + whole, 0), y == nullptr ? nullptr : tail.in(y + whole, 1), tail.buffer[2]);
    if (y != nullptr) tail.out(sum + whole, 2);
    squared = hn::MulAdd(v, v, squared);
  }
  const float mean = hn::GetLane(hn::SumOfLanes(df, squared)) / static_cast<float>(n);
  scale(y == nullptr ? x : sum, 1.0f / std::sqrt(mean + eps), weight, n, out);
}

template <class T>
void silu_mul(const T* gate, const T* up, std::int64_t n, T* out) {
  const std::int64_t step = lanes(), whole = n / step * step;
  const auto body = [](const T* g, const T* u, T* o) HWY_ATTR {
    const F df;
    const V x = load(g);
    // Beyond 100 exp is infinite anyway, and Highway's is only defined up to 104.
    const V e = hn::Exp(df, hn::Min(hn::Neg(x), hn::Set(df, 100.0f)));
    const V silu = hn::Div(x, hn::Add(hn::Set(df, 1.0f), e));
    store(hn::Mul(rounded_to(silu, static_cast<const T*>(nullptr)), load(u)), o);
  };
  for (std::int64_t i = 0; i < whole; i += step) body(gate + i, up + i, out + i);
  if (whole < n) {
    Tail<T> tail(n - whole);
    body(tail.in(gate + whole, 0), tail.in(up + whole, 1), tail.buffer[2]);
    tail.out(out + whole, 2);
  }
}

template <class T>
void rope(const T* x, const T* cos, const T* sin, std::int64_t half, T* out) {
  const std::int64_t step = lanes(), whole = half / step * step;
  const auto body = [](const T* low, const T* high, const T* c, const T* s, T* to_low, T* to_high) HWY_ATTR {
    const T* as = nullptr;
    const V a = load(low), b = load(high), cosine = load(c), sine = load(s);
    store(hn::Sub(rounded_to(hn::Mul(a, cosine), as), rounded_to(hn::Mul(b, sine), as)), to_low);
    store(hn::Add(rounded_to(hn::Mul(b, cosine), as), rounded_to(hn::Mul(a, sine), as)), to_high);
  };
  for (std::int64_t i = 0; i < whole; i += step)
    body(x + i, x + half + i, cos + i, sin + i, out + i, out + half + i);
  if (whole < half) {
    Tail<T> in(half - whole), by(half - whole);
    body(in.in(x + whole, 0), in.in(x + half + whole, 1), by.in(cos + whole, 0), by.in(sin + whole, 1),
         in.buffer[2], by.buffer[2]);
    in.out(out + whole, 2);
    by.out(out + half + whole, 2);
  }
}

void rms_norm_float(const float* x, const float* y, const float* weight, std::int64_t n, float eps,
                    float* sum, float* out) {
  rms_norm(x, y, weight, n, eps, sum, out);
}
void rms_norm_bf16(const Bf16* x, const Bf16* y, const Bf16* weight, std::int64_t n, float eps, Bf16* sum,
                   Bf16* out) {
  rms_norm(x, y, weight, n, eps, sum, out);
}
void squares_float(const float* x, const float* y, std::int64_t n, float* sum, float* out) {
  squares(x, y, n, sum, out);
}
void squares_bf16(const Bf16* x, const Bf16* y, std::int64_t n, Bf16* sum, float* out) {
  squares(x, y, n, sum, out);
}
void scale_float(const float* x, float inverse, const float* weight, std::int64_t n, float* out) {
  scale(x, inverse, weight, n, out);
}
void scale_bf16(const Bf16* x, float inverse, const Bf16* weight, std::int64_t n, Bf16* out) {
  scale(x, inverse, weight, n, out);
}
void silu_mul_float(const float* gate, const float* up, std::int64_t n, float* out) {
  silu_mul(gate, up, n, out);
}
void silu_mul_bf16(const Bf16* gate, const Bf16* up, std::int64_t n, Bf16* out) {
  silu_mul(gate, up, n, out);
}
void rope_float(const float* x, const float* cos, const float* sin, std::int64_t half, float* out) {
  rope(x, cos, sin, half, out);
}
void rope_bf16(const Bf16* x, const Bf16* cos, const Bf16* sin, std::int64_t half, Bf16* out) {
  rope(x, cos, sin, half, out);
}

bool finite(const float* x, std::int64_t n) {
  const F df;
  const std::int64_t step = lanes();
  // x * 0 is 0 for finite x and NaN otherwise.
  V sum = hn::Zero(df);
  std::int64_t i = 0;
  for (; i + step <= n; i += step) sum = hn::MulAdd(load(x + i), hn::Zero(df), sum);
  float rest = hn::GetLane(hn::SumOfLanes(df, sum));
  for (; i < n; ++i) rest += x[i] * 0.0f;
  return rest == 0.0f;
}

}  // namespace tetrad::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tetrad::ops::simd {

HWY_EXPORT(rms_norm_float);
HWY_EXPORT(rms_norm_bf16);
HWY_EXPORT(squares_float);
HWY_EXPORT(squares_bf16);
HWY_EXPORT(scale_float);
HWY_EXPORT(scale_bf16);
HWY_EXPORT(silu_mul_float);
HWY_EXPORT(silu_mul_bf16);
HWY_EXPORT(rope_float);
HWY_EXPORT(rope_bf16);
HWY_EXPORT(finite);

void rms_norm_row(const float* x, const float* y, const float* weight, std::int64_t n, float eps, float* sum,
                  float* out) {
  HWY_DYNAMIC_DISPATCH(rms_norm_float)(x, y, weight, n, eps, sum, out);
}
void rms_norm_row(const Bf16* x, const Bf16* y, const Bf16* weight, std::int64_t n, float eps, Bf16* sum,
                  Bf16* out) {
  HWY_DYNAMIC_DISPATCH(rms_norm_bf16)(x, y, weight, n, eps, sum, out);
}
void squares_row(const float* x, const float* y, std::int64_t n, float* sum, float* out) {
  HWY_DYNAMIC_DISPATCH(squares_float)(x, y, n, sum, out);
}
void squares_row(const Bf16* x, const Bf16* y, std::int64_t n, Bf16* sum, float* out) {
  HWY_DYNAMIC_DISPATCH(squares_bf16)(x, y, n, sum, out);
}
void scale_row(const float* x, float inverse, const float* weight, std::int64_t n, float* out) {
  HWY_DYNAMIC_DISPATCH(scale_float)(x, inverse, weight, n, out);
}
void scale_row(const Bf16* x, float inverse, const Bf16* weight, std::int64_t n, Bf16* out) {
  HWY_DYNAMIC_DISPATCH(scale_bf16)(x, inverse, weight, n, out);
}
void silu_mul_row(const float* gate, const float* up, std::int64_t n, float* out) {
  HWY_DYNAMIC_DISPATCH(silu_mul_float)(gate, up, n, out);
}
void silu_mul_row(const Bf16* gate, const Bf16* up, std::int64_t n, Bf16* out) {
  HWY_DYNAMIC_DISPATCH(silu_mul_bf16)(gate, up, n, out);
}
void rope_head(const float* x, const float* cos, const float* sin, std::int64_t half, float* out) {
  HWY_DYNAMIC_DISPATCH(rope_float)(x, cos, sin, half, out);
}
void rope_head(const Bf16* x, const Bf16* cos, const Bf16* sin, std::int64_t half, Bf16* out) {
  HWY_DYNAMIC_DISPATCH(rope_bf16)(x, cos, sin, half, out);
}
bool all_finite(const float* x, std::int64_t n) {
  return HWY_DYNAMIC_DISPATCH(finite)(x, n);
}

}  // namespace tetrad::ops::simd
#endif  // HWY_ONCE

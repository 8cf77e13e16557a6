// AdamW (Loshchilov and Hutter, "Decoupled weight decay regularization", algorithm 2; torch.optim.AdamW) for
// one element, in fp32, as every optimizer plugin here computes it:
//   m' = beta1 m + (1 - beta1) g          v' = beta2 v + (1 - beta2) g^2
//   u  = m' / (sqrt(v') / sqrt(1 - beta2^t) + eps)
//   w' = w (1 - lr wd) - lr / (1 - beta1^t) u
// Single, correctly rounded operations without contraction, on the host and on a device alike: both give the
// same bits, and so does a vectorised loop.
#pragma once

#include <tetrad/nvfp4/hd.h>

#include <cmath>

namespace tetrad::optim {

struct Hyper {
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;
};

// One step of one parameter: what the host works out in double.
struct AdamFactors {
  float beta1, beta1_rest;  // beta, 1 - beta
  float beta2, beta2_rest;
  float eps;
  float decay;         // 1 - lr * weight_decay
  float step_size;     // lr / (1 - beta1^step)
  float v_correction;  // 1 / sqrt(1 - beta2^step)
};

inline AdamFactors adam_factors(const Hyper& hyper, double lr, double weight_decay, std::int64_t step) {
  const auto t = static_cast<double>(step);
  return {static_cast<float>(hyper.beta1),
          static_cast<float>(1.0 - hyper.beta1),
          static_cast<float>(hyper.beta2),
          static_cast<float>(1.0 - hyper.beta2),
          static_cast<float>(hyper.eps),
          static_cast<float>(1.0 - lr * weight_decay),
          static_cast<float>(lr / (1.0 - std::pow(hyper.beta1, t))),
          static_cast<float>(1.0 / std::sqrt(1.0 - std::pow(hyper.beta2, t)))};
}

// What is smaller counts as 0, in v and in m: far below what eps lets through, and it keeps the device's
// square root and division free of their special cases.
inline constexpr float kLeastV = 1.262177448e-29f;  // 2^-96
inline constexpr float kLeastM = 7.888609052e-31f;  // 2^-100

// The square root, correctly rounded; 0 below kLeastV. On a device: the approximation and one correction, as
// the compiler's own square root does it for operands from 2^-101 on.
TETRAD_HD inline float root(float x) {
#ifdef __CUDA_ARCH__
  float y;
  asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  const float g = x * y, h = 0.5f * y;
  const float corrected = __fmaf_rn(__fmaf_rn(-g, g, x), h, g);
  return x < kLeastV ? 0.0f : corrected;
#else
  return x < kLeastV ? 0.0f : std::sqrt(x);
#endif
}

TETRAD_HD inline float quotient(float a, float b) {
#ifdef __CUDA_ARCH__
  return __fdiv_rn(a, b);
#else
  return a / b;
#endif
}

TETRAD_HD inline float next_m(float m, float g, const AdamFactors& f) {
  return f.beta1 * m + f.beta1_rest * g;
}
TETRAD_HD inline float next_v(float v, float g, const AdamFactors& f) {
  return f.beta2 * v + (f.beta2_rest * g) * g;
}
// `root_v` is sqrt(v'). The quotient is correctly rounded; 0 where |m| is below kLeastM. The divisor is eps
// (at least 1e-30) or more: on a device the compiler's own sequence serves without its checks.
TETRAD_HD inline float direction(float m, float root_v, const AdamFactors& f) {
  const float divisor = root_v * f.v_correction + f.eps;
#ifdef __CUDA_ARCH__
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(divisor));
  y = __fmaf_rn(y, __fmaf_rn(-divisor, y, 1.0f), y);
  float q = m * y;
  q = __fmaf_rn(__fmaf_rn(-divisor, q, m), y, q);
  q = __fmaf_rn(__fmaf_rn(-divisor, q, m), y, q);
#else
  const float q = m / divisor;
#endif
  return nvfp4::bits_float(nvfp4::abs_bits(m)) < kLeastM ? 0.0f : q;
}

}  // namespace tetrad::optim

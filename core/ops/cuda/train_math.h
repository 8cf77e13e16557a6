// The arithmetic of the training kernels, element by element, for host and device: what they compute is what
// the at:: forms in core/ops compute (norm_backward.h, activation_backward.h, rope_rows.h, cross_entropy.h),
// in fp32 with one rounding at the end, and a machine without a GPU tests these very functions against those.
#pragma once

#include <tetrad/nvfp4/half.h>

#include <cmath>

namespace tetrad::ops::cuda {

// v as a T holds it.
template <class T>
TETRAD_HD inline float stored(float v) {
  return nvfp4::to_float(nvfp4::from_float<T>(v));
}

// e^v; on a device 2^(v log2 e), which is within 2 ulp for what is not negligible.
TETRAD_HD inline float exponential(float v) {
#ifdef __CUDA_ARCH__
  return exp2f(v * 1.4426950408889634f);
#else
  return std::exp(v);
#endif
}

struct SiluMulElement {
  float dgate, dup;  // not yet rounded
  float activated;   // rounded(silu(gate)) * up, as the forward makes it
};
// Of h = silu(gate) * up, given dh.
template <class T>
TETRAD_HD inline SiluMulElement silu_mul_gradient(float dh, float gate, float up) {
#ifdef __CUDA_ARCH__
  const float e = expf(-gate);
#else
  const float e = std::exp(-gate);
#endif
  const float sig = 1.0f / (1.0f + e), silu = gate * sig;
  const float slope = (silu - silu * sig) + sig;
  return {slope * dh * up, silu * dh, stored<T>(gate / (1.0f + e)) * up};
}

// One element of the gradient of an RMS norm. inverse = 1 / sqrt(mean(x^2) + eps) of its row, along =
// inverse * mean(dy * weight * x).
struct NormElement {
  float dx, dweight;  // dweight: this row's part
};
TETRAD_HD inline NormElement rms_norm_gradient(float dy, float x, float weight, float inverse, float along) {
  const float normed = x * inverse;
  return {(dy * weight - normed * along) * inverse, dy * normed};
}

// One pair of a head, rotated; every product and sum is rounded to T.
struct Pair {
  float lower, upper;
};
template <class T>
TETRAD_HD inline Pair rotate(Pair x, float cos, float sin) {
  return {stored<T>(stored<T>(x.lower * cos) - stored<T>(x.upper * sin)),
          stored<T>(stored<T>(x.upper * cos) + stored<T>(x.lower * sin))};
}

// The running maximum m of some values and the sum of e^(value - m) over them. Empty: {-inf, 0}.
struct Softmax {
  float largest, sum;
};
TETRAD_HD inline Softmax empty_softmax() {
  return {-nvfp4::bits_float(nvfp4::kFloatInf), 0.0f};
}
// Of both sets of values together; in which order sets are joined changes the rounding alone. A NaN stays.
TETRAD_HD inline Softmax joined(Softmax a, Softmax b) {
  // Written so that a NaN of either is the result.
  const float largest = a.largest > b.largest || a.largest != a.largest ? a.largest : b.largest;
  const float none = -nvfp4::bits_float(nvfp4::kFloatInf);
  const float of_a = a.largest == none ? 0.0f : a.sum * exponential(a.largest - largest);
  const float of_b = b.largest == none ? 0.0f : b.sum * exponential(b.largest - largest);
  return {largest, of_a + of_b};
}

// d(scale * loss) / d(logit), before its rounding.
TETRAD_HD inline float entropy_gradient(float logit, float log_sum_exp, bool is_target, float scale) {
  const float p = exponential(logit - log_sum_exp);
  return (is_target ? p - 1.0f : p) * scale;
}

}  // namespace tetrad::ops::cuda

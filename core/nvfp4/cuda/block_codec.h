// One block of 16 under profile te with few integer operations: what bounds the codec kernels on a device
// that reads faster than it can shift. Bit for bit e2m1_encode and e2m1_decode (the tests compare them over
// all floats), for host and device. Subnormal floats are used as bit patterns: no flushing to zero.
#pragma once

#include <tetrad/nvfp4/profile.h>

#ifndef __CUDA_ARCH__
#include <cmath>
#endif

namespace tetrad::nvfp4::cuda {

inline constexpr float kTwoTo22 = 4194304.0f;
inline constexpr float kTwoToMinus126 = 1.1754943508222875e-38f;

// |v| rounded to the E2M1 grid, as a float 0 .. 6. Adding and subtracting 2^22 times the binade rounds to one
// bit behind the leading one, ties to even; below 1 the step stays that of the binade from 1 on.
TETRAD_HD inline float e2m1_round_magnitude(float v) {
#ifdef __CUDA_ARCH__
  const float a = fminf(fabsf(v), kE2m1Max);
#else
  const float a = std::fmin(std::fabs(v), kE2m1Max);
#endif
  std::uint32_t binade = float_bits(a) & 0x7F800000u;
  if (binade < 0x3F800000u) binade = 0x3F800000u;
  const float shift = bits_float(binade) * kTwoTo22;
  return (a + shift) - shift;
}

// The code of a magnitude of the grid, times 2^22: E2M1's bits are those of a float that has lost 126 of its
// exponent, 0.5 being subnormal in both.
TETRAD_HD inline std::uint32_t e2m1_code_at_22(float magnitude) {
  return float_bits(magnitude * kTwoToMinus126);
}

// Codes of up to eight values, element i in bits 4 i .. 4 i + 3, without the signs.
template <int kCount = 8>
TETRAD_HD inline std::uint32_t e2m1_magnitudes(const float* values, float factor) {
  std::uint32_t word = 0;
#ifdef __CUDA_ARCH__
#pragma unroll
#endif
  for (int i = 0; i < kCount; ++i) {
    const std::uint32_t code = e2m1_code_at_22(e2m1_round_magnitude(values[i] * factor));
    word |= i < 6 ? code >> (22 - 4 * i) : code << (4 * i - 22);
  }
  return word;
}

// Sign bits of up to eight floats where their codes have them.
template <int kCount = 8>
TETRAD_HD inline std::uint32_t e2m1_signs(const float* values) {
  std::uint32_t word = 0;
#ifdef __CUDA_ARCH__
#pragma unroll
#endif
  for (int i = 0; i < kCount; ++i) word |= (float_bits(values[i]) & 0x80000000u) >> (28 - 4 * i);
  return word;
}

// The scale of a block whose maximum is `greatest` (as bits), and what its elements are multiplied by.
struct BlockScale {
  std::uint8_t code;
  float factor;
};
template <class T>
TETRAD_HD inline BlockScale block_scale(std::uint32_t greatest, GlobalScale global) {
  using Encoder = BlockEncoder<Profile::te, T>;
  if (!is_finite_bits(greatest)) return {kE4m3Nan, 0.0f};
  const std::uint8_t code = Encoder::scale(bits_float(greatest), global);
  return {code, Encoder::factor(code, global)};
}

}  // namespace tetrad::nvfp4::cuda

// The codec of one block as a device runs it fast: the same bits as e2m1_encode, e2m1_encode_stochastic and
// plane_sum (tetrad/nvfp4), with few integer operations, which are what bounds the update on a device. On the
// host these functions are the codec's own; the tricks that need no device compile there too, and tests
// compare them with the codec.
#pragma once

#include <tetrad/nvfp4/planes.h>

#ifdef __CUDACC__
#include <cuda_fp16.h>
#endif

namespace tetrad::optim_adamw_nvfp4 {

using nvfp4::BlockCodes;

// |y| to the E2M1 grid, to nearest, ties to even, as a float 0 .. 6: adding 2^22 times the binade leaves one
// bit behind the leading one; below 1 the step stays that of the binade from 1 on.
TETRAD_HD inline float round_magnitude(float magnitude) {
  const float a = magnitude < nvfp4::kE2m1Max ? magnitude : nvfp4::kE2m1Max;
  const float from_one = a > 1.0f ? a : 1.0f;
  const float shift = nvfp4::bits_float(nvfp4::float_bits(from_one) & 0x7F800000u) * 4194304.0f;
  return (a + shift) - shift;
}

// The code of a magnitude on the grid, in bits 22 .. 24: E2M1 is a float that has lost 126 of its exponent.
TETRAD_HD inline std::uint32_t grid_code_at_22(float magnitude) {
  return nvfp4::float_bits(magnitude * 1.1754943508222875e-38f);
}

// e2m1_encode_stochastic without its sign: 16 bits of fraction, drawn against, in whole steps of the binade.
TETRAD_HD inline std::uint32_t stochastic_magnitude(float magnitude, std::uint32_t draw) {
  const float a = magnitude < nvfp4::kE2m1Max ? magnitude : nvfp4::kE2m1Max;
  const float from_one = a > 1.0f ? a : 1.0f;
  const std::uint32_t binade = nvfp4::float_bits(from_one) & 0x7F800000u;
  const float steps_16 = a * nvfp4::bits_float(((127u + 17u + 127u) << 23) - binade) + 0.5f;
#ifdef __CUDA_ARCH__
  // Truncated without a conversion: 2^23 leaves no fraction, and rounding is towards zero.
  const std::uint32_t fixed = __float_as_uint(__fadd_rz(steps_16, 8388608.0f)) - 0x4B000000u;
#else
  const auto fixed = static_cast<std::uint32_t>(steps_16);
#endif
  return ((fixed + draw) >> 16) + (binade >> 22) - 254u;
}

#ifdef __CUDA_ARCH__
// Codes j and j + 4 of a word in the halves of the result, as fp16 that lost 14 of their exponent.
__device__ inline __half2 code_pair(std::uint32_t word, int j) {
  const std::uint32_t sign = word << (12 - 4 * j);
  const std::uint32_t magnitude = j < 3 ? word << (9 - 4 * j) : word >> 3;
  const std::uint32_t bits = (sign & 0x80008000u) | (magnitude & 0x0E000E00u);
  return *reinterpret_cast<const __half2*>(&bits);
}
#endif

// out[k] = the value of code k.
TETRAD_HD inline void decode_codes(const BlockCodes& codes, float (&out)[16]) {
#ifdef __CUDA_ARCH__
  const __half2 up = __float2half2_rn(16384.0f);
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const float2 two = __half22float2(__hmul2(code_pair(codes.word[i / 4], i % 4), up));
    out[i / 4 * 8 + i % 4] = two.x;
    out[i / 4 * 8 + i % 4 + 4] = two.y;
  }
#else
  for (int k = 0; k < 16; ++k) out[k] = nvfp4::e2m1_decode(nvfp4::code_at(codes, k));
#endif
}

// out[k] = plane_sum(planes, k).
template <int P>
TETRAD_HD inline void decode_sums(const BlockCodes (&planes)[P], float (&out)[16]) {
#ifdef __CUDA_ARCH__
  if constexpr (P == 1) {
    decode_codes(planes[0], out);
  } else {
    const __half2 up = __float2half2_rn(16384.0f), up_lo = __float2half2_rn(4096.0f);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const __half2 hi = __hmul2(code_pair(planes[0].word[i / 4], i % 4), up);
      const float2 two = __half22float2(__hfma2(code_pair(planes[1].word[i / 4], i % 4), up_lo, hi));
      out[i / 4 * 8 + i % 4] = two.x;
      out[i / 4 * 8 + i % 4 + 4] = two.y;
    }
    if constexpr (P == 3) {
      float last[16];
      decode_codes(planes[2], last);
#pragma unroll
      for (int k = 0; k < 16; ++k) out[k] = fmaf(0.0625f, last[k], out[k]);
    }
  }
#else
  for (int k = 0; k < 16; ++k) out[k] = nvfp4::plane_sum(planes, k);
#endif
}

// Puts the code at 22 .. 24 of `at_22` to place k of its word, and the sign of `value`.
TETRAD_HD inline std::uint32_t placed(std::uint32_t at_22, int k) {
  const int at = 4 * (k % 8);
  return at <= 22 ? at_22 >> (22 - at) : at_22 << (at - 22);
}
TETRAD_HD inline std::uint32_t placed_sign(float value, int k) {
  return (nvfp4::float_bits(value) & 0x80000000u) >> (28 - 4 * (k % 8));
}

// e2m1_encode of y, at place k of its word.
TETRAD_HD inline std::uint32_t encode_nearest(float y, int k) {
#ifdef __CUDA_ARCH__
  return placed(grid_code_at_22(round_magnitude(fabsf(y))), k) | placed_sign(y, k);
#else
  return static_cast<std::uint32_t>(nvfp4::e2m1_encode(y)) << (4 * (k % 8));
#endif
}

// encode_element<P, true>: the codes of y in P planes, each or-ed to place k of its word.
template <int P>
TETRAD_HD inline void encode_planes(float y, std::uint32_t draw, int k, BlockCodes (&planes)[P]) {
#ifdef __CUDA_ARCH__
#pragma unroll
  for (int p = 0; p < P - 1; ++p) {
    const float grid = round_magnitude(fabsf(y));
    planes[p].word[k / 8] |= placed(grid_code_at_22(grid), k) | placed_sign(y, k);
    y = (y - copysignf(grid, y)) * 4.0f;
  }
  planes[P - 1].word[k / 8] |= stochastic_magnitude(fabsf(y), draw) << (4 * (k % 8)) | placed_sign(y, k);
#else
  const std::uint32_t codes = nvfp4::encode_element<P, true>(y, draw);
  for (int p = 0; p < P; ++p) planes[p].word[k / 8] |= ((codes >> (4 * p)) & 0xFu) << (4 * (k % 8));
#endif
}

// The code of a value >= 0, rounded stochastically.
TETRAD_HD inline std::uint32_t encode_positive(float y, std::uint32_t draw) {
#ifdef __CUDA_ARCH__
  return stochastic_magnitude(y, draw);
#else
  return nvfp4::e2m1_encode_stochastic(y, draw);
#endif
}

}  // namespace tetrad::optim_adamw_nvfp4

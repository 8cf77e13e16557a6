// The codec of one block, fast: the same bits as e2m1_encode, e2m1_encode_stochastic and plane_sum
// (tetrad/nvfp4), which tests compare it with, without branches and with few integer operations, which are
// what bounds the update on a device.
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
// The host, which is slow at subnormal numbers, moves what is below 1 into the binade above instead.
TETRAD_HD inline std::uint32_t grid_code_at_22(float magnitude) {
#ifdef __CUDA_ARCH__
  return nvfp4::float_bits(magnitude * 1.1754943508222875e-38f);
#else
  const bool below = magnitude < 1.0f;
  const float normal = below ? magnitude + 1.0f : magnitude;
  return nvfp4::float_bits(normal) - ((below ? 254u : 252u) << 22);
#endif
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
  const auto fixed = static_cast<std::uint32_t>(static_cast<std::int32_t>(steps_16));
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
  static constexpr float kValues[16] = {0.0f,  0.5f,  1.0f,  1.5f,  2.0f,  3.0f,  4.0f,  6.0f,
                                        -0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f};
  for (int k = 0; k < 16; ++k) out[k] = kValues[nvfp4::code_at(codes, k)];
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
  decode_codes(planes[0], out);
  float part = 0.25f;  // every sum is exact
  for (int p = 1; p < P; ++p, part *= 0.25f) {
    float residual[16];
    decode_codes(planes[p], residual);
    for (int k = 0; k < 16; ++k) out[k] += part * residual[k];
  }
#endif
}

TETRAD_HD inline float magnitude_of(float y) {
  return nvfp4::bits_float(nvfp4::abs_bits(y));
}

// The codes of a block, one a word from bit kFrom on, into their places.
template <int kFrom>
TETRAD_HD inline BlockCodes packed(const std::uint32_t (&codes)[16]) {
  BlockCodes out;
  TETRAD_NVFP4_UNROLL
  for (int half = 0; half < 2; ++half) {
    std::uint32_t word = 0;
    TETRAD_NVFP4_UNROLL
    for (int j = 0; j < 8; ++j) {
      const std::uint32_t code = codes[8 * half + j];
      word |= 4 * j >= kFrom ? code << (4 * j >= kFrom ? 4 * j - kFrom : 0)
                             : code >> (4 * j < kFrom ? kFrom - 4 * j : 0);
    }
    out.word[half] = word;
  }
  return out;
}

// The sign bit of a code that starts at bit kFrom.
template <int kFrom>
TETRAD_HD inline std::uint32_t sign_code(float y) {
  return (nvfp4::float_bits(y) >> (28 - kFrom)) & (8u << kFrom);
}

// e2m1_encode of 16 values.
TETRAD_HD inline BlockCodes encode_nearest(const float (&y)[16]) {
  std::uint32_t codes[16];
  TETRAD_NVFP4_UNROLL
  for (int k = 0; k < 16; ++k)
    codes[k] = grid_code_at_22(round_magnitude(magnitude_of(y[k]))) | sign_code<22>(y[k]);
  return packed<22>(codes);
}

// Codes of values >= 0, rounded stochastically with draw 1 of the words, and not below `least`.
TETRAD_HD inline BlockCodes encode_positive(const float (&y)[16], const std::uint32_t (&words)[16],
                                            std::uint32_t least) {
  std::uint32_t codes[16];
  TETRAD_NVFP4_UNROLL
  for (int k = 0; k < 16; ++k) {
    const std::uint32_t code = stochastic_magnitude(y[k], nvfp4::draw1(words[k]));
    codes[k] = code > least ? code : least;
  }
  return packed<0>(codes);
}

// The planes of 16 values, the last one rounded stochastically with draw 0 of the words; y is used up.
// `planes` holds the old codes; with `keep` their hi plane stays where it is as good as the nearest one. Why:
// lo's grid puts a quarter of all sums exactly half way between two codes of hi. Rounded to nearest, the
// smallest step would move all of these by a whole code at once, in the gradient's direction: the sums hardly
// change, but a model that reads hi alone explodes. So hi moves only when the sum is past the middle by half
// of lo's step, which is 5/8 of the way to the next code; then it moves, in the mean, as fast as the sum.
// Without `keep`: encode_element<P, true>.
template <int P>
TETRAD_HD inline void encode_planes(float (&y)[16], const std::uint32_t (&words)[16], bool keep,
                                    BlockCodes (&planes)[P]) {
  std::uint32_t codes[16];
  [[maybe_unused]] float old[16];
  if constexpr (P > 1) decode_codes(planes[0], old);
  TETRAD_NVFP4_UNROLL
  for (int p = 0; p < P - 1; ++p) {
    TETRAD_NVFP4_UNROLL
    for (int k = 0; k < 16; ++k) {
      const float grid = round_magnitude(magnitude_of(y[k]));
      float chosen = nvfp4::bits_float(nvfp4::float_bits(grid) | (nvfp4::float_bits(y[k]) & 0x80000000u));
      if (p == 0 && keep && magnitude_of(y[k] - old[k]) < 0.625f * magnitude_of(chosen - old[k]))
        chosen = old[k];
      codes[k] = grid_code_at_22(magnitude_of(chosen)) | sign_code<22>(chosen);
      y[k] = (y[k] - chosen) * 4.0f;  // exact for the nearest code, and for sums of planes
    }
    planes[p] = packed<22>(codes);
  }
  TETRAD_NVFP4_UNROLL
  for (int k = 0; k < 16; ++k)
    codes[k] = stochastic_magnitude(magnitude_of(y[k]), nvfp4::draw0(words[k])) | sign_code<0>(y[k]);
  planes[P - 1] = packed<0>(codes);
}

}  // namespace tetrad::optim_adamw_nvfp4

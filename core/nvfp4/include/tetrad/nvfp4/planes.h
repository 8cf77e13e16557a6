// Tied planes, one block of 16 at a time: the arithmetic that the plane codec, its kernels and the optimizers
// share. A value is
//   (q_hi + q_lo / 4 + q_lo2 / 16) * block scale * decode scale
// with E2M1 codes q and one E4M3 block scale for all planes of the block: lo's scale is hi's / 4, so lo
// reaches 1.5 block scales, more than hi's greatest half step (1.0), in steps down to 0.125. Each plane but
// the last is rounded to nearest; the last one to nearest or stochastically.
//
// Exactness: a sum of planes is a multiple of 1/2 (1/8, 1/32) up to 6 (7.5, 7.875), so with the block scale
// it has at most 6 (10, 12) significant bits: everything up to the decode scale is exact in fp32, and with a
// decode scale that is a power of two (within power_of_two_scale's range) the value is, too. Encoding divides
// (IEEE), so encoding what was decoded gives back the same values, whatever is drawn. Element k of a block is
// bits 4 (k % 8) of word k / 8, which is the order of codec.h's bytes.
#pragma once

#include <tetrad/nvfp4/profile.h>

#ifndef __CUDA_ARCH__
#include <cmath>
#include <cstring>
#endif

#ifdef __CUDA_ARCH__
#define TETRAD_NVFP4_UNROLL _Pragma("unroll")
#else
#define TETRAD_NVFP4_UNROLL
#endif

namespace tetrad::nvfp4 {

inline constexpr int kMaxPlanes = 3;

// The codes of one plane of a block.
struct BlockCodes {
  std::uint32_t word[2] = {0, 0};
};

TETRAD_HD inline std::uint32_t code_at(const BlockCodes& codes, int k) {
  return (codes.word[k / 8] >> (4 * (k % 8))) & 0xFu;
}

// `bytes`: the block's 8 bytes, at an address that is a multiple of 8 on a device.
TETRAD_HD inline BlockCodes load_codes(const std::uint8_t* bytes) {
#ifdef __CUDA_ARCH__
  const uint2 words = *reinterpret_cast<const uint2*>(bytes);
  return {{words.x, words.y}};
#else
  static_assert(std::endian::native == std::endian::little);
  BlockCodes codes;
  std::memcpy(codes.word, bytes, 8);
  return codes;
#endif
}

TETRAD_HD inline void store_codes(const BlockCodes& codes, std::uint8_t* bytes) {
#ifdef __CUDA_ARCH__
  *reinterpret_cast<uint2*>(bytes) = make_uint2(codes.word[0], codes.word[1]);
#else
  std::memcpy(bytes, codes.word, 8);
#endif
}

// y -> code 0..15, rounded to one of its two neighbours on the E2M1 grid with probabilities that keep the
// mean: up with probability f, f the distance from the lower one in steps, rounded to 16 bits. draw:
// 0..65535, uniform. |y| above 6 saturates (and is biased there); NaN is the caller's to keep out.
TETRAD_HD inline std::uint32_t e2m1_encode_stochastic(float y, std::uint32_t draw) {
  const std::uint32_t u = float_bits(y);
  float a = bits_float(u & 0x7FFFFFFFu);
  a = a < kE2m1Max ? a : kE2m1Max;
  // Steps are 2^(e-1), e the exponent from 0 (everything below 2) to 2: a in steps lies in [0, 4), and code
  // and steps differ by 2 e.
  const std::uint32_t e = a >= 4.0f ? 2u : (a >= 2.0f ? 1u : 0u);
  const float steps_16 = a * bits_float((127u + 17u - e) << 23);  // a * 2^(1-e) * 65536
  const auto fixed = static_cast<std::uint32_t>(steps_16 + 0.5f);
  return ((u >> 28) & 8u) | (((fixed + draw) >> 16) + 2u * e);
}

// One element in units of its block scale -> its P codes, plane p in bits 4 p .. 4 p + 3.
template <int P, bool Stochastic>
TETRAD_HD inline std::uint32_t encode_element(float y, std::uint32_t draw) {
  static_assert(P >= 1 && P <= kMaxPlanes);
  std::uint32_t all = 0;
  TETRAD_NVFP4_UNROLL
  for (int p = 0; p < P; ++p) {
    const std::uint32_t code = Stochastic && p == P - 1 ? e2m1_encode_stochastic(y, draw) : e2m1_encode(y);
    all |= code << (4 * p);
    y = (y - e2m1_decode(code)) * 4.0f;  // both exact
  }
  return all;
}

// q_hi + q_lo / 4 + q_lo2 / 16 of element k, exact.
template <int P>
TETRAD_HD inline float plane_sum(const BlockCodes (&planes)[P], int k) {
  static_assert(P >= 1 && P <= kMaxPlanes);
  float sum = e2m1_decode(code_at(planes[0], k));
  if constexpr (P > 1) sum += 0.25f * e2m1_decode(code_at(planes[1], k));
  if constexpr (P > 2) sum += 0.0625f * e2m1_decode(code_at(planes[2], k));
  return sum;
}

// The block's 16 values. A NaN scale (0x7F) gives NaN.
template <int P>
TETRAD_HD inline void decode_block(const BlockCodes (&planes)[P], std::uint8_t scale, float decode_scale,
                                   float (&out)[16]) {
  const bool nan = (scale & 0x7Fu) == kE4m3Nan;
  const float s = e4m3_decode(scale);
  TETRAD_NVFP4_UNROLL
  for (int k = 0; k < 16; ++k) {
    const float unscaled = plane_sum(planes, k) * s;
    out[k] = nan ? bits_float(kFloatNan) : unscaled * decode_scale;
  }
}

// Encodes 16 finite values under a block scale that the caller chose, 0 .. 448 (codes 0 .. 0x7E); 0 gives
// zero codes, 0x7F (the mark of a block that met a non-finite value) too. draws: one of 16 bits per element,
// read only where Stochastic.
template <int P, bool Stochastic>
TETRAD_HD inline void encode_block(const float (&x)[16], std::uint8_t scale, float decode_scale,
                                   const std::uint32_t (&draws)[16], BlockCodes (&planes)[P]) {
  TETRAD_NVFP4_UNROLL
  for (int p = 0; p < P; ++p) planes[p] = {};
  if (scale == 0 || (scale & 0x7Fu) == kE4m3Nan) return;
  const float unit = e4m3_decode(scale) * decode_scale;
  TETRAD_NVFP4_UNROLL
  for (int k = 0; k < 16; ++k) {
    const std::uint32_t all = encode_element<P, Stochastic>(x[k] / unit, Stochastic ? draws[k] : 0u);
    TETRAD_NVFP4_UNROLL
    for (int p = 0; p < P; ++p) planes[p].word[k / 8] |= ((all >> (4 * p)) & 0xFu) << (4 * (k % 8));
  }
}

// Greatest |x| of a block as a bit pattern (hd.h): at or above kFloatInf when one is not finite.
TETRAD_HD inline std::uint32_t block_amax(const float (&x)[16]) {
  std::uint32_t greatest = 0;
  TETRAD_NVFP4_UNROLL
  for (int k = 0; k < 16; ++k) {
    const std::uint32_t abs = abs_bits(x[k]);
    greatest = abs > greatest ? abs : greatest;
  }
  return greatest;
}

// Profile te's block scale of a block with that maximum: 0x7F when it is not finite.
TETRAD_HD inline std::uint8_t block_scale_of(std::uint32_t amax_bits, GlobalScale global) {
  if (!is_finite_bits(amax_bits)) return kE4m3Nan;
  return BlockEncoder<Profile::te, float>::scale(bits_float(amax_bits), global);
}

// A sum of planes times its block scale as the model sees it: rounded to bf16, to nearest even. What a
// decode scale that is a power of two is multiplied by afterwards, and any other as the product's fp32 alpha.
TETRAD_HD inline float folded(float unscaled) {
  return to_float(to_bf16(unscaled));
}

}  // namespace tetrad::nvfp4

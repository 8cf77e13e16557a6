// How packed NVFP4 bytes become operands of mma.m16n8k16: the bit arithmetic and the assignment of weights to
// lanes, for host and device, so that a machine without a GPU tests what the kernels run.
//
// A warp works on 16 rows x 128 columns of the weight (a chunk). Lane (g, t), g = lane / 4, t = lane % 4,
// holds the 32 columns from 32 t on of rows g and g + 8: four words of eight codes and two block scales each.
// A word gives four pairs, pair j = (code j, code j + 4), two pairs per mma. A sum does not care in which
// order its terms come, so the columns that the hardware calls 2t, 2t+1, 2t+8, 2t+9 are simply the lane's
// own; x is arranged the same way (activation_pairs).
//
// Codes are not looked up: their three magnitude bits are shifted to where exponent and mantissa meet, which
// gives code * 2^-126 in bf16 and code * 2^-14 in fp16, subnormals included. The block scale carries the way
// back as far as the type's range allows, the rest (kUnscale) is the epilogue's: all of it powers of two.
#pragma once

#include <tetrad/nvfp4/e4m3.h>
#include <tetrad/nvfp4/half.h>

#ifdef __CUDACC__
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

namespace tetrad::nvfp4::cuda {

inline constexpr int kChunkCols = 128;
inline constexpr int kLaneCols = 32;

template <class T>
struct Fragment;

template <>
struct Fragment<Bf16> {
  static constexpr int kShift = 6;
  static constexpr std::uint32_t kMagnitude = 0x01C001C0u;
  static constexpr float kScaleUp = 3.3230699894622897e+35f;  // 2^118: 448 * 2^118 is still finite
  static constexpr float kUnscale = 256.0f;                   // 2^(126 - 118)
};

template <>
struct Fragment<Fp16> {
  static constexpr int kShift = 3;
  static constexpr std::uint32_t kMagnitude = 0x0E000E00u;
  static constexpr float kScaleUp = 128.0f;  // 2^7: 448 * 2^7 is still finite
  static constexpr float kUnscale = 128.0f;  // 2^(14 - 7)
};

// The four pairs of a word of eight codes: pairs[j] = (code j in the low half, code j + 4 in the high half).
template <class T>
TETRAD_HD inline void code_pairs(std::uint32_t word, std::uint32_t (&pairs)[4]) {
#ifdef __CUDA_ARCH__
#pragma unroll
#endif
  for (int j = 0; j < 4; ++j) {
    const std::uint32_t v = word << (12 - 4 * j);
    pairs[j] = (v & 0x80008000u) | ((v >> Fragment<T>::kShift) & Fragment<T>::kMagnitude);
  }
}

// e4m3_decode for a hot loop: E4M3's bits at fp32's mantissa edge are value * 2^-120, subnormals included.
TETRAD_HD inline float e4m3_shifted(std::uint32_t code) {
  const float shifted = bits_float(((code & 0x80u) << 24) | ((code & 0x7Fu) << 20));
  const float value = shifted * 1.329227995784916e+36f;  // 2^120
  return (code & 0x7Fu) == kE4m3Nan ? bits_float(kFloatNan) : value;
}

// A block scale times `factor` (kScaleUp, or a quarter of it) in both halves of a pair. Exact: E4M3 has four
// significant bits. The NaN code gives NaN.
template <class T>
TETRAD_HD inline std::uint32_t scale_pair(std::uint32_t code, float factor = Fragment<T>::kScaleUp);

template <>
TETRAD_HD inline std::uint32_t scale_pair<Bf16>(std::uint32_t code, float factor) {
  const std::uint32_t upper = float_bits(e4m3_shifted(code) * factor) & 0xFFFF0000u;
  return upper | (upper >> 16);
}

template <>
TETRAD_HD inline std::uint32_t scale_pair<Fp16>(std::uint32_t code, float factor) {
  const float scaled = e4m3_shifted(code) * factor;
#ifdef __CUDA_ARCH__
  const std::uint32_t bits = __half_as_ushort(__float2half_rn(scaled));
#else
  const std::uint32_t bits = to_fp16(scaled).bits;
#endif
  return bits | (bits << 16);
}

// Two elements of T in one register: the product of each half, and a * b + c rounded once.
template <class T>
TETRAD_HD inline std::uint32_t mul_pair(std::uint32_t a, std::uint32_t b);
template <class T>
TETRAD_HD inline std::uint32_t fma_pair(std::uint32_t a, std::uint32_t b, std::uint32_t c);

namespace detail {

// Host: the products of 16-bit values are exact in float, and so are the sums met here (hi + lo of one
// block).
template <class T>
TETRAD_HD inline std::uint32_t emulate_pair(std::uint32_t a, std::uint32_t b, std::uint32_t c) {
  std::uint32_t out = 0;
  for (int h = 0; h < 32; h += 16) {
    T x, y, z;
    x.bits = static_cast<std::uint16_t>(a >> h);
    y.bits = static_cast<std::uint16_t>(b >> h);
    z.bits = static_cast<std::uint16_t>(c >> h);
    const float product = to_float(x) * to_float(y);
    out |= static_cast<std::uint32_t>(from_float<T>(product + to_float(z)).bits) << h;
  }
  return out;
}

}  // namespace detail

#ifdef __CUDA_ARCH__
template <>
TETRAD_HD inline std::uint32_t mul_pair<Bf16>(std::uint32_t a, std::uint32_t b) {
  std::uint32_t d;  // -0 as the third operand: mul.bf16x2 itself begins with sm_90
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(0x80008000u));
  return d;
}
template <>
TETRAD_HD inline std::uint32_t fma_pair<Bf16>(std::uint32_t a, std::uint32_t b, std::uint32_t c) {
  std::uint32_t d;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
  return d;
}
template <>
TETRAD_HD inline std::uint32_t mul_pair<Fp16>(std::uint32_t a, std::uint32_t b) {
  std::uint32_t d;
  asm("mul.rn.f16x2 %0, %1, %2;" : "=r"(d) : "r"(a), "r"(b));
  return d;
}
template <>
TETRAD_HD inline std::uint32_t fma_pair<Fp16>(std::uint32_t a, std::uint32_t b, std::uint32_t c) {
  std::uint32_t d;
  asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
  return d;
}
#else
template <>
TETRAD_HD inline std::uint32_t mul_pair<Bf16>(std::uint32_t a, std::uint32_t b) {
  return detail::emulate_pair<Bf16>(a, b, 0x80008000u);
}
template <>
TETRAD_HD inline std::uint32_t fma_pair<Bf16>(std::uint32_t a, std::uint32_t b, std::uint32_t c) {
  return detail::emulate_pair<Bf16>(a, b, c);
}
template <>
TETRAD_HD inline std::uint32_t mul_pair<Fp16>(std::uint32_t a, std::uint32_t b) {
  return detail::emulate_pair<Fp16>(a, b, 0x80008000u);
}
template <>
TETRAD_HD inline std::uint32_t fma_pair<Fp16>(std::uint32_t a, std::uint32_t b, std::uint32_t c) {
  return detail::emulate_pair<Fp16>(a, b, c);
}
#endif

// Decodes a word of eight codes of one block to four pairs of code * block scale / kUnscale.
template <class T>
TETRAD_HD inline void weight_pairs(std::uint32_t word, std::uint32_t scale, std::uint32_t (&pairs)[4]) {
  code_pairs<T>(word, pairs);
#ifdef __CUDA_ARCH__
#pragma unroll
#endif
  for (int j = 0; j < 4; ++j) pairs[j] = mul_pair<T>(pairs[j], scale);
}

// The same for hi + lo / 4, rounded once to T; `quarter` is the scale pair made with kScaleUp / 4.
template <class T>
TETRAD_HD inline void weight_pairs(std::uint32_t hi, std::uint32_t lo, std::uint32_t scale,
                                   std::uint32_t quarter, std::uint32_t (&pairs)[4]) {
  std::uint32_t low[4];
  code_pairs<T>(lo, low);
  weight_pairs<T>(hi, scale, pairs);
#ifdef __CUDA_ARCH__
#pragma unroll
#endif
  for (int j = 0; j < 4; ++j) pairs[j] = fma_pair<T>(low[j], quarter, pairs[j]);
}

// Four registers of eight consecutive elements of x -> the pairs that stand against a word's: (x0, x4),
// (x1, x5), (x2, x6), (x3, x7).
TETRAD_HD inline void activation_pairs(const std::uint32_t (&x)[4], std::uint32_t (&pairs)[4]) {
#ifdef __CUDA_ARCH__
  pairs[0] = __byte_perm(x[0], x[2], 0x5410);
  pairs[1] = __byte_perm(x[0], x[2], 0x7632);
  pairs[2] = __byte_perm(x[1], x[3], 0x5410);
  pairs[3] = __byte_perm(x[1], x[3], 0x7632);
#else
  pairs[0] = (x[0] & 0xFFFFu) | (x[2] << 16);
  pairs[1] = (x[0] >> 16) | (x[2] & 0xFFFF0000u);
  pairs[2] = (x[1] & 0xFFFFu) | (x[3] << 16);
  pairs[3] = (x[1] >> 16) | (x[3] & 0xFFFF0000u);
#endif
}

}  // namespace tetrad::nvfp4::cuda

// How packed NVFP4 bytes become operands of mma.m16n8k16: the bit arithmetic and the assignment of weights to
// lanes, for host and device, so that a machine without a GPU tests what the kernels run.
//
// A warp works on 8 rows x 128 columns of the weight (a chunk), the B operand; up to 16 rows of x are A. Lane
// (g, t), g = lane / 4, t = lane % 4, holds the 32 columns from 32 t on of row g: four words of eight codes
// and two block scales. A word gives four pairs, pair j = (code j, code j + 4), two pairs per mma. A sum does
// not care in which order its terms come, so the columns that the hardware calls 2t, 2t+1, 2t+8, 2t+9 are
// simply the lane's own; x is arranged the same way (activation_pairs).
//
// Codes are not looked up: their three magnitude bits are moved to where exponent and mantissa meet, which
// gives code * 2^-126 in bf16 and code * 2^-14 in fp16, subnormals included. Bits are moved by products where
// that is possible: the pipe of shifts and masks is what the packed product runs out of first on Hopper. The
// block scale carries the way back as far as the type's range allows, the rest (kUnscale) is the epilogue's:
// all of it powers of two.
#pragma once

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
  static constexpr int kShift = 6;           // from a code in the top nibble of a half to its place
  static constexpr float kUnscale = 256.0f;  // a pair is code * scale * 2^(118 - 126): 448 * 2^118 is finite
  static constexpr int kScaleShift = 4;      // E4M3 bits there are value * 2^-120
  static constexpr std::uint32_t kScaleFirst = 0x7B007B00u;     // 2^119
  static constexpr std::uint32_t kScaleSecond = 0x7B007B00u;    // 2^119
  static constexpr std::uint32_t kQuarterSecond = 0x7A007A00u;  // 2^117
};

template <>
struct Fragment<Fp16> {
  static constexpr int kShift = 3;
  static constexpr float kUnscale = 128.0f;                  // code * scale * 2^(7 - 14): 448 * 2^7 is finite
  static constexpr int kScaleShift = 7;                      // value * 2^-8
  static constexpr std::uint32_t kScaleFirst = 0x78007800u;  // 2^15
  static constexpr std::uint32_t kScaleSecond = 0x3C003C00u;    // 1
  static constexpr std::uint32_t kQuarterSecond = 0x34003400u;  // 1 / 4
};

// The factors that move bits. A kernel takes them from its arguments: a factor that the compiler knew would
// become a shift again.
struct Moves {
  std::uint32_t magnitude0, magnitude1, sign0, sign1, both0, both1, nibble;
};

template <class T>
TETRAD_HD constexpr Moves moves() {
  const std::uint32_t magnitude0 = 1u << (12 - Fragment<T>::kShift);
  const std::uint32_t magnitude1 = 1u << (8 - Fragment<T>::kShift);
  return {magnitude0, magnitude1, 1u << 12, 1u << 8, magnitude0 + (1u << 12), magnitude1 + (1u << 8),
          1u << 4};
}

// The four pairs of a word of eight codes: pairs[j] = (code j in the low half, code j + 4 in the high half).
template <class T>
TETRAD_HD inline void code_pairs(std::uint32_t word, const Moves& by, std::uint32_t (&pairs)[4]) {
  constexpr std::uint32_t kMagnitude = 0x70007000u >> Fragment<T>::kShift;
  const std::uint32_t shifted = word >> Fragment<T>::kShift;
  if constexpr (Fragment<T>::kShift > 4) {
    // One product puts a whole code to the sign's place and to the magnitude's, which do not touch.
    constexpr std::uint32_t kBoth = kMagnitude | 0x80008000u;
    pairs[0] = ((word & 0x000F000Fu) * by.both0) & kBoth;
    pairs[1] = ((word & 0x00F000F0u) * by.both1) & kBoth;
  } else {
    pairs[0] = (word & 0x00070007u) * by.magnitude0 + (word & 0x00080008u) * by.sign0;
    pairs[1] = (word & 0x00700070u) * by.magnitude1 + (word & 0x00800080u) * by.sign1;
  }
  pairs[2] = ((shifted & (kMagnitude >> 4)) | (word & 0x08000800u)) * by.nibble;
  pairs[3] = (shifted & kMagnitude) | (word & 0x80008000u);
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

// The first or second of two block scales times 1 / (what code_pairs leaves out) * 1 / kUnscale, in both
// halves of a pair; with kQuarter a quarter of it. Exact: E4M3 has four significant bits. The NaN code comes
// out as a number: see scale_flags.
template <class T, bool kQuarter = false>
TETRAD_HD inline std::uint32_t scale_pair(std::uint32_t scales, int which) {
  using F = Fragment<T>;
#ifdef __CUDA_ARCH__
  const std::uint32_t both = __byte_perm(scales, 0, which == 0 ? 0x4040 : 0x4141);
#else
  const std::uint32_t both = ((scales >> (8 * which)) & 0xFFu) * 0x00010001u;
#endif
  const std::uint32_t first = mul_pair<T>(both << F::kScaleShift, F::kScaleFirst);
  const std::uint32_t second = kQuarter ? F::kQuarterSecond : F::kScaleSecond;
  return mul_pair<T>(first, second);
}

// Non-zero under kBadScale where one of two scales is NaN, or has the sign that block scales do not have.
inline constexpr std::uint32_t kBadScale = 0x8080u;
TETRAD_HD inline std::uint32_t scale_flags(std::uint32_t scales) {
  return scales | (scales + 0x0101u);
}

// Decodes a word of eight codes of one block to four pairs of code * block scale / kUnscale.
template <class T>
TETRAD_HD inline void weight_pairs(std::uint32_t word, std::uint32_t scale, const Moves& by,
                                   std::uint32_t (&pairs)[4]) {
  code_pairs<T>(word, by, pairs);
#ifdef __CUDA_ARCH__
#pragma unroll
#endif
  for (int j = 0; j < 4; ++j) pairs[j] = mul_pair<T>(pairs[j], scale);
}

// The same for hi + lo / 4, rounded once to T; `quarter` is the scale pair of a quarter.
template <class T>
TETRAD_HD inline void weight_pairs(std::uint32_t hi, std::uint32_t lo, std::uint32_t scale,
                                   std::uint32_t quarter, const Moves& by, std::uint32_t (&pairs)[4]) {
  std::uint32_t low[4];
  code_pairs<T>(lo, by, low);
  weight_pairs<T>(hi, scale, by, pairs);
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

// E2M1, the 4-bit element of NVFP4: sign in bit 3, magnitudes 0 .5 1 1.5 2 3 4 6 for codes 0..7, no infinity,
// no NaN. Encoding rounds to nearest, ties to the even code, and saturates at 6, as cvt.rn.satfinite.e2m1x2
// does: infinities give 6 with their sign, NaN gives +6 (callers look for non-finite values before they
// encode), -0 keeps its sign. Two elements share a byte: element 2i in the low nibble, 2i + 1 in the high
// one.
#pragma once

#include <tetrad/nvfp4/hd.h>

namespace tetrad::nvfp4 {

inline constexpr float kE2m1Max = 6.0f;

// x (any float) -> code 0..15.
TETRAD_HD inline std::uint8_t e2m1_encode(float x) {
  const std::uint32_t u = float_bits(x);
  const std::uint32_t abs = u & 0x7FFFFFFFu;
  if (abs > kFloatInf) return 7;
  std::uint32_t code;
  if (abs >= 0x3F800000u) {
    // Normal range (1 and above): keep one mantissa bit, rounding to nearest even; 252 = 127 * 2 - 2
    // makes 1.0 code 2.
    code = ((abs + 0x1FFFFFu + ((abs >> 22) & 1u)) >> 22) - 252u;
    code = code < 7u ? code : 7u;
  } else {
    // Below 1 the grid is 0, .5, 1. Ties: .25 -> 0 (even), .75 -> 1.0 (code 2, even).
    code = (abs > 0x3E800000u ? 1u : 0u) + (abs >= 0x3F400000u ? 1u : 0u);
  }
  return static_cast<std::uint8_t>(((u >> 28) & 8u) | code);
}

// code 0..15 (higher bits ignored) -> value; code 8 gives -0.
TETRAD_HD inline float e2m1_decode(std::uint32_t code) {
  const std::uint32_t magnitude = code & 7u;
  // Normal codes: exponent e - 1 + 127 and one mantissa bit, (code << 22) + (126 << 23). Codes 0 and 1 are 0
  // and .5.
  const std::uint32_t normal = (magnitude << 22) + (126u << 23);
  const std::uint32_t bits = magnitude > 1u ? normal : (magnitude == 1u ? 0x3F000000u : 0u);
  return bits_float(((code & 8u) << 28) | bits);
}

// Two codes 0..15 -> the byte that holds them; `even` is element 2i.
TETRAD_HD inline std::uint8_t e2m1_pack(std::uint8_t even, std::uint8_t odd) {
  return static_cast<std::uint8_t>(even | (odd << 4));
}

// Code of element i of a row of packed codes.
TETRAD_HD inline std::uint32_t e2m1_at(const std::uint8_t* codes, std::int64_t i) {
  return (static_cast<std::uint32_t>(codes[i >> 1]) >> ((i & 1) * 4)) & 0xFu;
}

}  // namespace tetrad::nvfp4

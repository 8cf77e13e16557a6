// E4M3 (the "fn" variant: no infinity, one NaN per sign at 0x7F/0xFF), the block scale of NVFP4. Encoding
// rounds to nearest even, keeps subnormals (multiples of 2^-9 below 2^-6) and saturates at 448; infinity
// saturates too, NaN gives 0x7F. Block scales are never negative; the functions cover all 256 codes all the
// same.
#pragma once

#include <tetrad/nvfp4/hd.h>

namespace tetrad::nvfp4 {

inline constexpr float kE4m3Max = 448.0f;
inline constexpr std::uint8_t kE4m3Nan =
    0x7F;  // the block scale that says: this block met a non-finite value

// x (any float) -> code 0..255.
TETRAD_HD inline std::uint8_t e4m3_encode(float x) {
  const std::uint32_t u = float_bits(x);
  const std::uint32_t sign = (u >> 24) & 0x80u;
  const std::uint32_t abs = u & 0x7FFFFFFFu;
  if (abs > kFloatInf) return kE4m3Nan;
  std::uint32_t code;
  if (abs >= 0x43E00000u) {  // 448 and above
    code = 0x7Eu;
  } else if (abs >= 0x3C800000u) {  // 2^-6 and above: normal; 960 = (127 - 7) * 8
    code = ((abs + 0x7FFFFu + ((abs >> 20) & 1u)) >> 20) - 960u;
  } else {
    // Subnormal: the significand in units of 2^-9, rounded to nearest even. Below 2^-11 everything is 0.
    const std::uint32_t significand = (abs & 0x7FFFFFu) | 0x800000u;
    const std::uint32_t shift = 141u - (abs >> 23);
    code = shift > 24u ? 0u
                       : (significand + ((1u << (shift - 1)) - 1u) + ((significand >> shift) & 1u)) >> shift;
  }
  return static_cast<std::uint8_t>(sign | code);
}

// code 0..255 -> value; 0x7F and 0xFF give NaN.
TETRAD_HD inline float e4m3_decode(std::uint8_t code) {
  const std::uint32_t sign = static_cast<std::uint32_t>(code & 0x80u) << 24;
  const std::uint32_t abs = code & 0x7Fu;
  if (abs == 0x7Fu) return bits_float(sign | kFloatNan);
  if (abs >= 8u) return bits_float(sign | ((abs + 960u) << 20));
  return bits_float(sign | float_bits(static_cast<float>(abs) * 0.001953125f));  // abs * 2^-9
}

}  // namespace tetrad::nvfp4

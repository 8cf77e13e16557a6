// Storage types for the two 16-bit float formats and their conversions, bit for bit, for host and device.
// They carry no arithmetic: values are widened to float (exact) and narrowed with round-to-nearest-even, as
// every framework does. NaN narrows to one quiet pattern: 0x7FC0 for bf16, as torch does, and 0x7E00 with its
// sign for fp16.
#pragma once

#include <tetrad/nvfp4/hd.h>

namespace tetrad::nvfp4 {

struct Bf16 {
  std::uint16_t bits = 0;
};

struct Fp16 {
  std::uint16_t bits = 0;
};

TETRAD_HD inline float to_float(float x) {
  return x;
}

TETRAD_HD inline float to_float(Bf16 x) {
  return bits_float(static_cast<std::uint32_t>(x.bits) << 16);
}

TETRAD_HD inline float to_float(Fp16 x) {
  const std::uint32_t sign = static_cast<std::uint32_t>(x.bits & 0x8000u) << 16;
  const std::uint32_t exponent = (x.bits >> 10) & 0x1Fu;
  const std::uint32_t mantissa = x.bits & 0x3FFu;
  if (exponent == 0x1F) return bits_float(sign | kFloatInf | (mantissa << 13));
  if (exponent != 0) return bits_float(sign | ((exponent + 112) << 23) | (mantissa << 13));
  // Subnormal: mantissa * 2^-24, exact in float.
  const float magnitude = static_cast<float>(mantissa) * 5.9604644775390625e-8f;
  return bits_float(sign | float_bits(magnitude));
}

TETRAD_HD inline Bf16 to_bf16(float x) {
  const std::uint32_t u = float_bits(x);
  if ((u & 0x7FFFFFFFu) > kFloatInf) return Bf16{0x7FC0u};
  return Bf16{static_cast<std::uint16_t>((u + 0x7FFFu + ((u >> 16) & 1u)) >> 16)};
}

TETRAD_HD inline Fp16 to_fp16(float x) {
  const std::uint32_t u = float_bits(x);
  const std::uint32_t sign = (u >> 16) & 0x8000u;
  const std::uint32_t abs = u & 0x7FFFFFFFu;
  std::uint32_t out;
  if (abs > kFloatInf) {
    out = 0x7E00u;
  } else if (abs >= 0x477FF000u) {  // 65520 and above round to infinity
    out = 0x7C00u;
  } else if (abs >= 0x38800000u) {  // 2^-14: normal
    out = (abs - 0x38000000u + 0xFFFu + ((abs >> 13) & 1u)) >> 13;
  } else if (abs >= 0x33000000u) {  // 2^-25 and above: subnormal, in units of 2^-24
    const std::uint32_t mantissa = (abs & 0x7FFFFFu) | 0x800000u;
    const std::uint32_t shift = 126u - (abs >> 23);
    const std::uint32_t half = 1u << (shift - 1);
    out = (mantissa + half - 1 + ((mantissa >> shift) & 1u)) >> shift;
  } else {
    out = 0;
  }
  return Fp16{static_cast<std::uint16_t>(sign | out)};
}

// from_float<T>: narrow to T; the identity for float.
template <class T>
TETRAD_HD inline T from_float(float x);
template <>
TETRAD_HD inline float from_float<float>(float x) {
  return x;
}
template <>
TETRAD_HD inline Bf16 from_float<Bf16>(float x) {
  return to_bf16(x);
}
template <>
TETRAD_HD inline Fp16 from_float<Fp16>(float x) {
  return to_fp16(x);
}

}  // namespace tetrad::nvfp4

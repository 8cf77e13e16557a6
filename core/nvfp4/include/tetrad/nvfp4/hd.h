// TETRAD_HD marks a function that compiles for the host and, under nvcc, for the device: the arithmetic of
// NVFP4 is written once, and the CPU tests exercise the very code that the kernels run. The helpers here are
// the only places that know which side they are on. Whoever includes these headers must compile with
// -ffp-contract=off (the tetrad_nvfp4 target hands it on) and, in device code, without -use_fast_math.
#pragma once

#include <bit>
#include <cstdint>

#ifdef __CUDACC__
#define TETRAD_HD __host__ __device__
#else
#define TETRAD_HD
#endif

namespace tetrad::nvfp4 {

// The IEEE-754 binary32 pattern of x.
TETRAD_HD inline std::uint32_t float_bits(float x) {
#ifdef __CUDA_ARCH__
  return __float_as_uint(x);
#else
  return std::bit_cast<std::uint32_t>(x);
#endif
}

// The float whose IEEE-754 binary32 pattern is `bits`.
TETRAD_HD inline float bits_float(std::uint32_t bits) {
#ifdef __CUDA_ARCH__
  return __uint_as_float(bits);
#else
  return std::bit_cast<float>(bits);
#endif
}

inline constexpr std::uint32_t kFloatInf = 0x7F800000u;  // patterns above it (sign cleared) are NaN
inline constexpr std::uint32_t kFloatNan = 0x7FC00000u;  // the NaN that this codec writes
inline constexpr float kFloatMax = 3.402823466e+38f;

// |x| as a bit pattern. For patterns of this kind integer order is float order, and NaN is the greatest: so
// one integer maximum gives amax and says whether anything was non-finite.
TETRAD_HD inline std::uint32_t abs_bits(float x) {
  return float_bits(x) & 0x7FFFFFFFu;
}

TETRAD_HD inline bool is_finite_bits(std::uint32_t abs) {
  return abs < kFloatInf;
}

// True for 2^k, k in the range of normal floats, positive: multiplying by it rounds nothing while the result
// is normal.
TETRAD_HD inline bool is_power_of_two(float x) {
  const std::uint32_t u = float_bits(x);
  return (u & 0x807FFFFFu) == 0 && u != 0 && u < kFloatInf;
}

}  // namespace tetrad::nvfp4

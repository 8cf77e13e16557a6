// Preconditions that the reference and the fast codec share, so that both refuse the same calls with the same
// words.
#pragma once

#include <tetrad/base/error.h>
#include <tetrad/nvfp4/profile.h>

#include <string>
#include <type_traits>

namespace tetrad::nvfp4 {

// A 16-bit output may only be scaled by a power of two: anything else would round the weight itself.
template <class T>
void check_decode_scale(float decode_scale) {
  if constexpr (!std::is_same_v<T, float>) {
    if (!is_power_of_two(decode_scale)) {
      throw Error(
          "[nvfp4] dequantise: a decode scale of " + std::to_string(decode_scale) +
          " is not a power of two and would round 16-bit weights; dequantise without it and give it to the "
          "product as its fp32 alpha");
    }
  }
}

// Stochastic rounding and four_or_six are profile te's.
inline void check_encode_options(const EncodeOptions& options) {
  if (options.profile == Profile::te || options.plain()) return;
  throw Error(ExitCode::usage,
              "[nvfp4] quantise: stochastic rounding and block target four_or_six belong to profile te; take "
              "that profile, or round to nearest with target six");
}

// What the operand codec encodes.
inline void check_operand_options(const EncodeOptions& options) {
  if (options.profile == Profile::te && options.block == BlockShape::row16) return;
  throw Error(ExitCode::usage,
              "[nvfp4] quantise an operand: only profile te with blocks of 1 x 16; weights in 16 x 16 tiles "
              "have the same values both ways and need no second encoding");
}

inline void check_rotation(bool rotated, std::int64_t cols) {
  if (!rotated || cols % kBlock == 0) return;
  throw Error(ExitCode::usage, "[nvfp4] rotate: rows of " + std::to_string(cols) +
                                   " elements are not whole blocks of 16, which the transform mixes; pad "
                                   "them with zeros first");
}

}  // namespace tetrad::nvfp4

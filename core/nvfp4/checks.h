// Preconditions that the reference and the fast codec share, so that both refuse the same calls with the same
// words.
#pragma once

#include <tetrad/base/error.h>
#include <tetrad/nvfp4/hd.h>

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

}  // namespace tetrad::nvfp4

// One AdamW step of a parameter whose m and v are 8-bit codes into a dynamic map, with one fp32 scale (the
// greatest magnitude) per block of 256 consecutive elements: the arithmetic, for host and device, and what a
// kernel needs to know. The weight is fp32, or bf16 rounded to nearest or stochastically.
#pragma once

#include "optim/dense_update.h"

namespace tetrad::optim_adamw_int8 {

inline constexpr std::int64_t kBlock = 256;

struct Int8Args {
  optim::DenseArgs dense;                   // w, g, scale, stop, factors, draws; its m, v and master are null
  std::uint8_t *m = nullptr, *v = nullptr;  // codes, one per element
  float *m_scales = nullptr, *v_scales = nullptr;  // one per 256 elements of the flat tensor
  const float *m_map = nullptr, *v_map = nullptr;  // 256 ascending values each
};

// The code of the value of an ascending map of 256 that is nearest to x, the lower of two equally near ones.
TETRAD_HD inline std::uint8_t nearest_code(const float* map, float x) {
  int code = 0;  // the greatest with map[code] <= x, or 0
  for (int step = 128; step > 0; step /= 2) {
    if (code + step < 256 && map[code + step] <= x) code += step;
  }
  if (code < 255 && map[code + 1] - x < x - map[code]) ++code;
  return static_cast<std::uint8_t>(code);
}

// 1 / scale, or 0 for a block without history.
TETRAD_HD inline float inverse_of(float scale) {
  return scale > 0.0f ? optim::quotient(1.0f, scale) : 0.0f;
}

}  // namespace tetrad::optim_adamw_int8

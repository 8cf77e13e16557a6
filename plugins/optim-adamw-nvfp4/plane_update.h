// What one update of a parameter in NVFP4 planes needs: pointers of the device that runs it, and the
// functions that load and store the blocks around adamw_block (plane_block.h), for host and device.
#pragma once

#include <tetrad/nvfp4/half.h>

#include "plane_block.h"

namespace tetrad::optim_adamw_nvfp4 {

enum class GradientKind : std::uint8_t { planes, fp32, bf16 };

struct PlaneArgs {
  std::int64_t rows = 0, cols = 0;  // cols as in the shape; planes are padded to a multiple of 16
  std::uint8_t* w[nvfp4::kMaxPlanes] = {};
  std::uint8_t* w_scales = nullptr;
  float w_scale = 1.0f;  // the frozen global scale
  std::uint8_t *m = nullptr, *m_scales = nullptr;
  std::uint8_t *r = nullptr, *r_scales = nullptr;
  GradientKind kind = GradientKind::planes;
  const void* g = nullptr;  // codes, or the dense gradient [rows, cols]
  const std::uint8_t* g_scales = nullptr;
  float g_scale = 1.0f;                   // global scale of the planes ...
  const float* g_scale_at = nullptr;      // ... where it is not null, this one
  const std::uint32_t* g_amax = nullptr;  // dense: bits of max |g| over its finite elements
  const float* scale = nullptr;           // factor on the gradient; null: 1
  std::int32_t* stop = nullptr;           // null: 0
  std::int32_t mark = 1;
  const Range* range = nullptr;  // of the state before this step
  Range* next_range = nullptr;   // after it; its codes are 0 before the step
  Range* clear_range = nullptr;  // the next step's next_range: zeroed here
  optim::AdamFactors f{};
  nvfp4::DrawStream draws;
};

// What all blocks of a step share.
struct StepValues {
  TensorScales scales;
  float g_factor;  // what a decoded code * block scale, or a dense element, is multiplied by
};

TETRAD_HD inline StepValues step_values(const PlaneArgs& a) {
  const float scale = a.scale == nullptr ? 1.0f : *a.scale;
  const bool planes = a.kind == GradientKind::planes;
  const float global = planes ? (a.g_scale_at == nullptr ? a.g_scale : *a.g_scale_at) : 1.0f;
  const float factor = global * scale;
  const float bound = (planes ? nvfp4::kScaleRange : nvfp4::bits_float(*a.g_amax)) *
                      nvfp4::bits_float(nvfp4::abs_bits(factor));
  return {next_scales(*a.range, bound, a.w_scale, a.f), factor};
}

// Elements [16 * block ..) of a dense gradient; beyond the row's end they are 0.
template <class T>
TETRAD_HD inline void dense_gradient(const PlaneArgs& a, std::int64_t block, float factor, float (&g)[16]) {
  const std::int64_t row_blocks = (a.cols + 15) / 16, row = block / row_blocks;
  const std::int64_t col = (block - row * row_blocks) * 16;
  const T* from = static_cast<const T*>(a.g) + row * a.cols + col;
  TETRAD_NVFP4_UNROLL
  for (int k = 0; k < 16; ++k) g[k] = col + k < a.cols ? nvfp4::to_float(from[k]) * factor : 0.0f;
}

TETRAD_HD inline void plane_gradient(const BlockCodes& codes, std::uint8_t scale, float factor,
                                     float (&g)[16]) {
  const float unit = nvfp4::e4m3_decode(scale) * factor;  // NaN for 0x7F: the block is then left alone
  decode_codes(codes, g);
  TETRAD_NVFP4_UNROLL
  for (int k = 0; k < 16; ++k) g[k] *= unit;
}

}  // namespace tetrad::optim_adamw_nvfp4

// AdamW on one block of 16 whose weight (1, 2 or 3 tied planes), m and r = sqrt(v) are NVFP4: decoded,
// updated in fp32 and stored again. This is the whole arithmetic of optim-adamw-nvfp4: the CPU loop and the
// CUDA kernel both call it, and give the same bits, however the blocks are spread over threads.
//
// m: block scale TE's, E4M3(amax / 6); codes to nearest. r: the same scale, but at least the smallest one
//   where the block has any gradient history; codes rounded stochastically and never 0, since a second moment
//   that becomes 0 makes the next update of its element explode.
// w: worked on in units of its block scale, y = w / s, so that an element which does not move is stored again
//   exactly as it was. The block scale is sticky: it moves by factors of two only, up when |y| passes what
//   the planes hold, down when every |y| is at most 2.99 (where every code has an exact image). Two planes
//   hold 7.5 = 6 + 6 / 4, three 7.875; one plane alone overflows above 6 and then moves up with probability
//   (|y| - 6) / 2, which keeps the mean. The last plane is rounded stochastically, the others to nearest; hi
//   stays where it is until the next code is clearly nearer (encode_planes).
// Draws (tetrad/nvfp4/philox.h): 0 of an element rounds w, 1 rounds r; a block of one plane that overflows
// takes word 0 of group 2^62 + block / 4 for its scale.
#pragma once

#include <tetrad/nvfp4/philox.h>
#include <tetrad/nvfp4/planes.h>

#include "block_codec.h"
#include "optim/adam_math.h"

namespace tetrad::optim_adamw_nvfp4 {

// Global scales of m and r before and after a step (powers of two), and of w.
struct TensorScales {
  float w;
  float m_old, m_new;
  float r_old, r_new;
};

// What is kept of the ranges of m and r from step to step, so that their global scales need no pass of their
// own: the scales themselves and the greatest block scale code under them.
struct Range {
  float m_scale, r_scale;
  std::int32_t m_code, r_code;
};

template <int P>
struct StateBlock {
  BlockCodes w[P];
  BlockCodes m, r;
  std::uint8_t w_scale, m_scale, r_scale;
};

// A bound of |m'| and r' from bounds of the old ones and of the gradient gives scales that no block of this
// step can overflow; they are at most a few times as wide as they need be, which E4M3's range takes without
// loss. `g_bound` >= |g| after scaling.
TETRAD_HD inline TensorScales next_scales(const Range& range, float g_bound, float w_scale,
                                          const optim::AdamFactors& f) {
  const float m_bound = 6.0f * nvfp4::e4m3_decode(static_cast<std::uint8_t>(range.m_code)) * range.m_scale;
  const float r_bound = 6.0f * nvfp4::e4m3_decode(static_cast<std::uint8_t>(range.r_code)) * range.r_scale;
  const float m = f.beta1 * m_bound + f.beta1_rest * g_bound;
  const float r = optim::root(f.beta2 * (r_bound * r_bound) + (f.beta2_rest * g_bound) * g_bound);
  const auto scale = [](float bound) {
    return nvfp4::power_of_two_scale(bound < nvfp4::kFloatMax ? bound : nvfp4::kFloatMax).decode;
  };
  return {w_scale, range.m_scale, scale(m), range.r_scale, scale(r)};
}

// Twice a block scale, where E4M3 has it (up to 448), and half of one where that is exact.
TETRAD_HD inline bool can_double(std::uint8_t scale) {
  return scale <= 0x76;
}
TETRAD_HD inline std::uint8_t doubled(std::uint8_t scale) {
  return static_cast<std::uint8_t>(scale < 8 ? 2 * scale : scale + 8);
}
TETRAD_HD inline bool can_halve(std::uint8_t scale) {
  return scale >= 16;
}
TETRAD_HD inline std::uint8_t halved(std::uint8_t scale) {
  return static_cast<std::uint8_t>(scale - 8);
}

inline constexpr std::uint64_t kScaleDraws = std::uint64_t{1} << 62;

// The sticky rule. `greatest` = max |y| under `scale`; returns the new scale and the factor (a power of two)
// that takes y to it.
struct Rescaled {
  std::uint8_t scale;
  float factor;
};
template <int P>
TETRAD_HD inline Rescaled rescale(std::uint8_t scale, float greatest, const nvfp4::DrawStream& draws,
                                  std::int64_t block) {
  float factor = 1.0f;
  const float surely = P == 1 ? 8.0f : (P == 2 ? 7.5f : 7.875f);
  while (greatest > surely && can_double(scale)) {
    scale = doubled(scale);
    greatest *= 0.5f;
    factor *= 0.5f;
  }
  if (P == 1 && greatest > 6.0f && can_double(scale)) {
    const nvfp4::Philox4 words =
        nvfp4::draw_words(draws, kScaleDraws + static_cast<std::uint64_t>(block) / 4u);
    const float draw = (static_cast<float>(words.word[block % 4] >> 8) + 0.5f) * 5.9604644775390625e-8f;
    if (draw < (greatest - 6.0f) * 0.5f) {
      scale = doubled(scale);
      factor *= 0.5f;
    }
  }
  if (factor == 1.0f && greatest > 0.0f && greatest <= 2.99f && can_halve(scale)) {
    scale = halved(scale);
    factor = 2.0f;
  }
  return {scale, factor};
}

// One step. g: the block's gradient, scaled and clipped; block: canonical index of the block, draws the
// tensor's. False, and b's values untouched, where the gradient, the state or the result is not finite.
template <int P>
TETRAD_HD inline bool adamw_block(const float (&g)[16], StateBlock<P>& b, const TensorScales& t,
                                  const optim::AdamFactors& f, const nvfp4::DrawStream& draws,
                                  std::int64_t block) {
  // A block without a scale is all zeros; it starts at the smallest one.
  const bool live = b.w_scale != 0;
  const std::uint8_t w_scale = live ? b.w_scale : std::uint8_t{1};
  const float m_unit = nvfp4::e4m3_decode(b.m_scale) * t.m_old;
  const float r_unit = nvfp4::e4m3_decode(b.r_scale) * t.r_old;
  const float step = optim::quotient(f.step_size, nvfp4::e4m3_decode(w_scale) * t.w);
  float m[16], r[16], y[16];
  decode_codes(b.m, m);
  decode_codes(b.r, r);
  if (!live) {
    TETRAD_NVFP4_UNROLL
    for (int p = 0; p < P; ++p) b.w[p] = {};
  }
  decode_sums(b.w, y);
  TETRAD_NVFP4_UNROLL
  for (int k = 0; k < 16; ++k) {
    const float r0 = r[k] * r_unit;
    m[k] = optim::next_m(m[k] * m_unit, g[k], f);
    r[k] = optim::root(optim::next_v(r0 * r0, g[k], f));
    y[k] = y[k] * f.decay - step * optim::direction(m[k], r[k], f);
  }
  const std::uint32_t m_amax = nvfp4::block_amax(m), y_amax = nvfp4::block_amax(y);
  std::uint32_t r_amax = 0;  // r >= 0: its bits need no sign taken off
  TETRAD_NVFP4_UNROLL
  for (int k = 0; k < 16; ++k) {
    const std::uint32_t bits = nvfp4::float_bits(r[k]);
    r_amax = bits > r_amax ? bits : r_amax;
  }
  if (!nvfp4::is_finite_bits(m_amax) || !nvfp4::is_finite_bits(r_amax) || !nvfp4::is_finite_bits(y_amax))
    return false;

  const float sixth = 1.0f / 6.0f;
  b.m_scale = nvfp4::e4m3_encode(nvfp4::bits_float(m_amax) * optim::quotient(sixth, t.m_new));
  b.r_scale = nvfp4::e4m3_encode(nvfp4::bits_float(r_amax) * optim::quotient(sixth, t.r_new));
  if (b.r_scale == 0 && r_amax != 0) b.r_scale = 1;
  const float m_inverse =
      b.m_scale == 0 ? 0.0f : optim::quotient(1.0f, nvfp4::e4m3_decode(b.m_scale) * t.m_new);
  const float r_inverse =
      b.r_scale == 0 ? 0.0f : optim::quotient(1.0f, nvfp4::e4m3_decode(b.r_scale) * t.r_new);
  const std::uint32_t r_least = b.r_scale == 0 ? 0u : 1u;
  const Rescaled w = rescale<P>(w_scale, nvfp4::bits_float(y_amax), draws, block);
  b.w_scale = !live && y_amax == 0 ? std::uint8_t{0} : w.scale;

  std::uint32_t words[16];
  nvfp4::draw_block(draws, block, words);
  TETRAD_NVFP4_UNROLL
  for (int k = 0; k < 16; ++k) {
    m[k] *= m_inverse;
    r[k] *= r_inverse;
    y[k] *= w.factor;
  }
  b.m = encode_nearest(m);
  b.r = encode_positive(r, words, r_least);
  encode_planes(y, words, live && w.factor == 1.0f, b.w);
  return true;
}

}  // namespace tetrad::optim_adamw_nvfp4

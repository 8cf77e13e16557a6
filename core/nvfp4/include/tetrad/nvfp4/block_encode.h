// One block of 1 x 16 under profile te with everything that EncodeOptions offers, and the random Hadamard
// transform in front of it: what the operand codec (operand_codec.h) and its kernels share. Planes of a
// weight have planes.h.
#pragma once

#include <tetrad/nvfp4/planes.h>

namespace tetrad::nvfp4 {

// The transform's fixed signs, element i in bit i, 1 for minus: + + + - + - - - - - - + - + - - (those of
// TransformerEngine's NVFP4 recipe).
inline constexpr std::uint32_t kRotationSigns = 0xD7E8u;

// v = bf16(v * diag(signs) * H16 / 4), H16 the Sylvester Hadamard matrix: an orthogonal transform that
// spreads an outlier over its block. Two operands that were rotated along the dimension that a product sums
// over give the product of the unrotated ones. Sums are fp32, by halves from neighbours outwards; one
// rounding to bf16.
TETRAD_HD inline void rotate16(float (&v)[16]) {
  TETRAD_NVFP4_UNROLL
  for (int i = 0; i < 16; ++i) v[i] = (kRotationSigns >> i & 1u) != 0 ? -v[i] : v[i];
  TETRAD_NVFP4_UNROLL
  for (int half = 1; half < 16; half *= 2) {
    TETRAD_NVFP4_UNROLL
    for (int i = 0; i < 16; ++i) {
      if ((i & half) != 0) continue;
      const float a = v[i], b = v[i + half];
      v[i] = a + b;
      v[i + half] = a - b;
    }
  }
  TETRAD_NVFP4_UNROLL
  for (int i = 0; i < 16; ++i) v[i] = folded(v[i] * 0.25f);
}

// The two block scales that four_or_six chooses between: the maximum b at 6, and at 4.
TETRAD_HD inline std::uint8_t block_scale_at(float b, GlobalScale global, bool four) {
  const float six = (b / 6.0f) * global.encode;
  return e4m3_encode(four ? six * 1.5f : six);
}

// Sum of |x - decoded| over the block when it is rounded to nearest under that scale, in order.
TETRAD_HD inline float block_error(const float (&x)[16], std::uint8_t scale, GlobalScale global) {
  const float factor = BlockEncoder<Profile::te, float>::factor(scale, global);
  const float unit = e4m3_decode(scale) * global.decode;
  float sum = 0.0f;
  TETRAD_NVFP4_UNROLL
  for (int k = 0; k < 16; ++k) {
    const float error = x[k] - e2m1_decode(e2m1_encode(x[k] * factor)) * unit;
    sum += bits_float(abs_bits(error));
  }
  return sum;
}

// 16 values, padding zeros included -> their codes and block scale; `block` is the block's number in its
// tensor, for the draws. A block with a non-finite value gets the scale 0x7F and zero codes.
TETRAD_HD inline std::uint8_t encode_row16(const float (&x)[16], GlobalScale global,
                                           const EncodeOptions& options, std::int64_t block,
                                           BlockCodes& codes) {
  codes = {};
  const std::uint32_t greatest = block_amax(x);
  std::uint8_t scale = block_scale_of(greatest, global);
  if (scale == kE4m3Nan) return scale;
  if (options.target == BlockTarget::four_or_six) {
    const float b = bits_float(greatest);
    const std::uint8_t four = block_scale_at(b, global, true);
    scale = block_scale_at(b, global, false);
    if (block_error(x, four, global) < block_error(x, scale, global)) scale = four;
  }
  const float factor = BlockEncoder<Profile::te, float>::factor(scale, global);
  std::uint32_t words[16] = {};
  const bool stochastic = options.rounding == Rounding::stochastic;
  if (stochastic) draw_block(options.draws, block, words);
  TETRAD_NVFP4_UNROLL
  for (int k = 0; k < 16; ++k) {
    const float y = x[k] * factor;
    const std::uint32_t code = stochastic ? e2m1_encode_stochastic(y, draw0(words[k])) : e2m1_encode(y);
    codes.word[k / 8] |= code << (4 * (k % 8));
  }
  return scale;
}

}  // namespace tetrad::nvfp4

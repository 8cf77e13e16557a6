#include <tetrad/nvfp4/block_encode.h>
#include <tetrad/nvfp4/reference.h>

#include <algorithm>

#include "nvfp4/checks.h"

namespace tetrad::nvfp4::reference {
namespace {

// Elements rows x cols (at most 16 x 16) that share one block scale. `codes` and `scales` point at the
// block's first byte, row_codes and row_scales are the bytes from row to row.
template <Profile P, class T>
void quantize_block(const T* x, std::int64_t rows, std::int64_t cols, std::int64_t stride, GlobalScale global,
                    std::uint8_t* codes, std::int64_t row_codes, std::uint8_t* scales,
                    std::int64_t row_scales, const EncodeOptions& options, std::int64_t first_block) {
  using Encoder = BlockEncoder<P, T>;
  std::uint32_t greatest = 0;
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < cols; ++c)
      greatest = std::max(greatest, abs_bits(to_float(x[r * stride + c])));
  }
  const bool finite = is_finite_bits(greatest);
  std::uint8_t scale = finite ? Encoder::scale(bits_float(greatest), global) : kE4m3Nan;
  if (finite && options.target == BlockTarget::four_or_six) {
    // Errors of a row in order, then rows in order.
    float errors[2] = {0.0f, 0.0f};
    const std::uint8_t choices[2] = {block_scale_at(bits_float(greatest), global, false),
                                     block_scale_at(bits_float(greatest), global, true)};
    for (std::int64_t r = 0; r < rows; ++r) {
      float values[16];
      for (std::int64_t i = 0; i < kBlock; ++i) values[i] = i < cols ? to_float(x[r * stride + i]) : 0.0f;
      for (int i = 0; i < 2; ++i) errors[i] += block_error(values, choices[i], global);
    }
    scale = choices[errors[1] < errors[0] ? 1 : 0];
  }
  const float factor = Encoder::factor(scale, global);
  for (std::int64_t r = 0; r < rows; ++r) {
    scales[r * row_scales] = scale;
    std::uint32_t words[16];
    const bool stochastic = options.rounding == Rounding::stochastic;
    if (stochastic) draw_block(options.draws, first_block + r * row_scales, words);
    for (std::int64_t i = 0; i < kBlock; i += 2) {
      std::uint8_t pair[2] = {0, 0};
      for (std::int64_t j = 0; j < 2; ++j) {
        const float value = i + j < cols ? to_float(x[r * stride + i + j]) : 0.0f;
        if (!finite) continue;
        pair[j] = stochastic
                      ? static_cast<std::uint8_t>(e2m1_encode_stochastic(value * factor, draw0(words[i + j])))
                      : Encoder::code(value, factor);
      }
      codes[r * row_codes + i / 2] = e2m1_pack(pair[0], pair[1]);
    }
  }
}

template <Profile P, class T>
void quantize_rows(const T* x, std::int64_t rows, std::int64_t cols, std::int64_t stride, GlobalScale global,
                   const EncodeOptions& options, std::uint8_t* codes, std::uint8_t* scales) {
  const std::int64_t row_codes = packed_cols(cols) / 2;
  const std::int64_t row_scales = packed_cols(cols) / kBlock;
  const std::int64_t tile_rows = options.block == BlockShape::tile16x16 ? kBlock : 1;
  for (std::int64_t r = 0; r < rows; r += tile_rows) {
    for (std::int64_t b = 0; b < row_scales; ++b) {
      const std::int64_t c = b * kBlock;
      quantize_block<P>(x + r * stride + c, std::min(tile_rows, rows - r), std::min(kBlock, cols - c), stride,
                        global, codes + r * row_codes + c / 2, row_codes, scales + r * row_scales + b,
                        row_scales, options, (options.first_row + r) * row_scales + b);
    }
  }
}

}  // namespace

template <class T>
Amax amax(const T* x, std::int64_t rows, std::int64_t cols, std::int64_t stride) {
  Amax result;
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < cols; ++c) {
      const std::uint32_t abs = abs_bits(to_float(x[r * stride + c]));
      if (is_finite_bits(abs)) {
        result.value = std::max(result.value, bits_float(abs));
      } else if (result.first_bad < 0) {
        result.first_bad = r * cols + c;
      }
    }
  }
  return result;
}

template <class T>
std::int64_t quantize(const T* x, std::int64_t rows, std::int64_t cols, std::int64_t stride,
                      GlobalScale global, const EncodeOptions& options, std::uint8_t* codes,
                      std::uint8_t* scales) {
  check_encode_options(options);
  switch (options.profile) {
    case Profile::te:
      quantize_rows<Profile::te>(x, rows, cols, stride, global, options, codes, scales);
      break;
    case Profile::torchao_inference:
      quantize_rows<Profile::torchao_inference>(x, rows, cols, stride, global, options, codes, scales);
      break;
    case Profile::modelopt:
      quantize_rows<Profile::modelopt>(x, rows, cols, stride, global, options, codes, scales);
      break;
    case Profile::compressed_tensors:
      quantize_rows<Profile::compressed_tensors>(x, rows, cols, stride, global, options, codes, scales);
      break;
  }
  return reference::amax(x, rows, cols, stride).first_bad;
}

template <class T>
void dequantize(const std::uint8_t* codes, const std::uint8_t* scales, float decode_scale, std::int64_t rows,
                std::int64_t cols, T* out) {
  check_decode_scale<T>(decode_scale);
  const std::int64_t row_codes = packed_cols(cols) / 2;
  const std::int64_t row_scales = packed_cols(cols) / kBlock;
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < cols; ++c) {
      const std::uint8_t scale = scales[r * row_scales + c / kBlock];
      float value = bits_float(kFloatNan);
      if ((scale & 0x7F) != kE4m3Nan) {
        const float unscaled = e2m1_decode(e2m1_at(codes + r * row_codes, c)) * e4m3_decode(scale);
        value = unscaled * decode_scale;
      }
      out[r * cols + c] = from_float<T>(value);
    }
  }
}

#define TETRAD_INSTANTIATE(T)                                                                              \
  template Amax amax<T>(const T*, std::int64_t, std::int64_t, std::int64_t);                               \
  template std::int64_t quantize<T>(const T*, std::int64_t, std::int64_t, std::int64_t, GlobalScale,       \
                                    const EncodeOptions&, std::uint8_t*, std::uint8_t*);                   \
  template void dequantize<T>(const std::uint8_t*, const std::uint8_t*, float, std::int64_t, std::int64_t, \
                              T*);
TETRAD_INSTANTIATE(float)
TETRAD_INSTANTIATE(Bf16)
TETRAD_INSTANTIATE(Fp16)
#undef TETRAD_INSTANTIATE

}  // namespace tetrad::nvfp4::reference

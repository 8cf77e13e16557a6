#include <tetrad/nvfp4/block_encode.h>
#include <tetrad/nvfp4/operand_codec.h>

#include <algorithm>

#include "nvfp4/checks.h"

namespace tetrad::nvfp4 {
namespace {

// Visits the operand's blocks: f(values, block number, index in x of the first non-finite element or -1).
template <class T, class F>
void for_each_block(const T* x, std::int64_t rows, std::int64_t cols, std::int64_t stride, Operand operand,
                    F&& f) {
  const std::int64_t m_rows = operand.transposed ? cols : rows, m_cols = operand.transposed ? rows : cols;
  check_rotation(operand.rotated, m_cols);
  const std::int64_t row_blocks = packed_cols(m_cols) / kBlock;
  for (std::int64_t r = 0; r < m_rows; ++r) {
    for (std::int64_t b = 0; b < row_blocks; ++b) {
      float values[16];
      std::int64_t bad = -1;
      for (std::int64_t k = 0; k < kBlock; ++k) {
        const std::int64_t c = b * kBlock + k;
        const std::int64_t row = operand.transposed ? c : r, col = operand.transposed ? r : c;
        values[k] = c < m_cols ? to_float(x[row * stride + col]) : 0.0f;
        if (bad < 0 && !is_finite_bits(abs_bits(values[k]))) bad = row * cols + col;
      }
      if (operand.rotated) rotate16(values);
      f(values, r * row_blocks + b, bad);
    }
  }
}

}  // namespace

template <class T>
Amax operand_amax(const T* x, std::int64_t rows, std::int64_t cols, std::int64_t stride, Operand operand) {
  Amax result;
  for_each_block(x, rows, cols, stride, operand,
                 [&](const float(&values)[16], std::int64_t, std::int64_t bad) {
                   if (result.first_bad < 0) result.first_bad = bad;
                   for (const float v : values) {
                     const std::uint32_t abs = abs_bits(v);
                     if (is_finite_bits(abs)) result.value = std::max(result.value, bits_float(abs));
                   }
                 });
  return result;
}

template <class T>
std::int64_t quantize_operand(const T* x, std::int64_t rows, std::int64_t cols, std::int64_t stride,
                              Operand operand, GlobalScale global, const EncodeOptions& options,
                              std::uint8_t* codes, std::uint8_t* scales) {
  check_operand_options(options);
  const std::int64_t first = options.first_row * (packed_cols(operand.transposed ? rows : cols) / kBlock);
  std::int64_t first_bad = -1;
  for_each_block(x, rows, cols, stride, operand,
                 [&](const float(&values)[16], std::int64_t block, std::int64_t bad) {
                   if (first_bad < 0) first_bad = bad;
                   BlockCodes encoded;
                   scales[block] = encode_row16(values, global, options, first + block, encoded);
                   store_codes(encoded, codes + block * 8);
                 });
  return first_bad;
}

#define TETRAD_INSTANTIATE(T)                                                                            \
  template Amax operand_amax<T>(const T*, std::int64_t, std::int64_t, std::int64_t, Operand);            \
  template std::int64_t quantize_operand<T>(const T*, std::int64_t, std::int64_t, std::int64_t, Operand, \
                                            GlobalScale, const EncodeOptions&, std::uint8_t*,            \
                                            std::uint8_t*);
TETRAD_INSTANTIATE(float)
TETRAD_INSTANTIATE(Bf16)
TETRAD_INSTANTIATE(Fp16)
#undef TETRAD_INSTANTIATE

}  // namespace tetrad::nvfp4

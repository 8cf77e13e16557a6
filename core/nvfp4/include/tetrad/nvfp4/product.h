// y = x * W^T on the CPU with W left in NVFP4: the product of the bridge path while decoding, where a token
// or a few meet all weights and reading 0.5625 bytes a weight is what counts. Activations are not quantised;
// sums are fp32. Shapes: x (m, k) float or Bf16, W (n, k) packed, y (m, n) float.
//
// Each y[i, j] is decode * sum over k of x[i, k] * code * block scale: the sum is fp32, in an order, and with
// the block scale applied to terms or to sums of them, that depend on k and the machine's vector width alone.
// So the result is the same, bit for bit, for every m and however the rows of W are split over threads;
// between machines it differs within
//   |error| <= (k / 8 + 16) * 2^-24 * |decode| * sum |x[i, k] * code * block scale|.
// A NaN block scale makes its row of y NaN.
#pragma once

#include <tetrad/nvfp4/codec.h>

namespace tetrad::nvfp4 {

// A packed matrix that somebody else owns, rows x cols, laid out as in codec.h.
struct PackedView {
  const std::uint8_t* codes = nullptr;
  const std::uint8_t* scales = nullptr;
  float decode = 1.0f;  // any finite value: it multiplies the fp32 sum
  std::int64_t rows = 0;
  std::int64_t cols = 0;
};

// x in the order in which the kernel of this machine reads it, as floats: made once, it serves every weight
// of the same number of columns, any of its rows and any thread. prepared_floats(m, cols) is its size.
std::int64_t prepared_floats(std::int64_t m, std::int64_t cols);
template <class T>
void prepare(const T* x, std::int64_t m, std::int64_t x_stride, std::int64_t cols, float* prepared);

// Computes y[:, first_row .. last_row) for rows of W from m prepared rows of x. y_stride: elements from row
// to row. Any m >= 0; made for small ones (the weights are decoded again for every 8 rows of x). Allocates
// nothing.
void product_prepared(const float* prepared, std::int64_t m, const PackedView& w, std::int64_t first_row,
                      std::int64_t last_row, float* y, std::int64_t y_stride);

// Both at once.
template <class T>
void product(const T* x, std::int64_t m, std::int64_t x_stride, const PackedView& w, std::int64_t first_row,
             std::int64_t last_row, float* y, std::int64_t y_stride);

namespace reference {

// The same in double precision, one product after the other; the result is rounded to float once.
template <class T>
void product(const T* x, std::int64_t m, std::int64_t x_stride, const PackedView& w, std::int64_t first_row,
             std::int64_t last_row, float* y, std::int64_t y_stride);

}  // namespace reference
}  // namespace tetrad::nvfp4

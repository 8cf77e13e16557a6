// y = x * W^T on the CPU with W dense in bf16, for a few rows of x: decoding, where every weight is read once
// for a token and nothing but the memory's speed counts. It stands beside the packed product because both
// paths need it: the eval cache of the training path is such a W. Shapes: x (m, k) float or Bf16, W (n, k)
// Bf16, y (m, n) float.
//
// Each y[i, j] is alpha * sum over k of x[i, k] * W[j, k], the sum in fp32 in an order that depends on k and
// the machine's vector width alone: the same, bit for bit, for every m and however the rows of W are split
// over threads. Between machines it differs within
//   |error| <= (k / 8 + 16) * 2^-24 * |alpha| * sum |x[i, k] * W[j, k]|.
#pragma once

#include <tetrad/nvfp4/half.h>

#include <cstdint>

namespace tetrad::nvfp4 {

// A bf16 matrix that somebody else owns, rows x cols, contiguous.
struct DenseView {
  const Bf16* values = nullptr;
  float alpha = 1.0f;  // multiplies the fp32 sum
  std::int64_t rows = 0;
  std::int64_t cols = 0;
};

// x in the order in which the kernel reads it, as floats: made once, it serves every dense weight of the same
// number of columns, any of its rows and any thread. dense_prepared_floats(m, cols) is its size.
std::int64_t dense_prepared_floats(std::int64_t m, std::int64_t cols);
template <class T>
void dense_prepare(const T* x, std::int64_t m, std::int64_t x_stride, std::int64_t cols, float* prepared);

// Computes y[:, first_row .. last_row) for rows of W from m prepared rows of x. y_stride: elements from row
// to row. Any m >= 0; made for small ones (W is read again for every 4 rows of x). Allocates nothing.
void dense_product_prepared(const float* prepared, std::int64_t m, const DenseView& w, std::int64_t first_row,
                            std::int64_t last_row, float* y, std::int64_t y_stride);

// to[i] = from[i] rounded to nearest even, NaN to 0x7FC0.
void narrow(const float* from, std::int64_t n, Bf16* to);

namespace reference {

// The same in double precision, one product after the other, from x as it is; rounded to float once.
template <class T>
void dense_product(const T* x, std::int64_t m, std::int64_t x_stride, const DenseView& w,
                   std::int64_t first_row, std::int64_t last_row, float* y, std::int64_t y_stride);

}  // namespace reference
}  // namespace tetrad::nvfp4

// The SIMD half of product.h: the inner loop over packed rows, chosen at run time for the machine's vector
// unit.
#pragma once

#include <tetrad/nvfp4/product.h>

namespace tetrad::nvfp4::simd {

// Elements of W that the kernel takes at a time, 32 or 128, and x is laid out to match: with g = chunk / 16,
// element g * j + i of a chunk is at i * 16 + j.
std::int64_t product_chunk();
inline constexpr std::int64_t kProductMaxRows = 8;  // rows of x in one pass over W

// x: m (1..8) prepared rows, whole chunks with zeros behind the end, x_stride floats apart; y[i * y_stride +
// j] for j in [first, last).
void product_rows(const float* x, std::int64_t m, std::int64_t x_stride, const PackedView& w,
                  std::int64_t first_row, std::int64_t last_row, float* y, std::int64_t y_stride);

}  // namespace tetrad::nvfp4::simd

// The SIMD half of dense_product.h, chosen at run time for the machine's vector unit.
#pragma once

#include <tetrad/nvfp4/dense_product.h>

namespace tetrad::nvfp4::simd {

// The kernel eats W in chunks of 32 elements, and x is laid out to match: for each chunk the 16 even
// elements, then the 16 odd ones.
inline constexpr std::int64_t kDenseChunk = 32;
inline constexpr std::int64_t kDenseMaxRows = 4;  // rows of x in one pass over W

// x: m (1..4) prepared rows, whole chunks with zeros behind the end, x_stride floats apart; y[i * y_stride +
// j] for j in [first, last).
void dense_product_rows(const float* x, std::int64_t m, std::int64_t x_stride, const DenseView& w,
                        std::int64_t first_row, std::int64_t last_row, float* y, std::int64_t y_stride);

void narrow(const float* from, std::int64_t n, Bf16* to);

}  // namespace tetrad::nvfp4::simd

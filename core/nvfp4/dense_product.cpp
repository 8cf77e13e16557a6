#include <tetrad/nvfp4/dense_product.h>

#include <algorithm>

#include "nvfp4/prepare_rows.h"
#include "nvfp4/simd_dense_product.h"

namespace tetrad::nvfp4 {

std::int64_t dense_prepared_floats(std::int64_t m, std::int64_t cols) {
  return m * prepared_stride(cols, simd::kDenseChunk);
}

template <class T>
void dense_prepare(const T* x, std::int64_t m, std::int64_t x_stride, std::int64_t cols, float* prepared) {
  prepare_rows<simd::kDenseChunk / 16>(x, m, x_stride, cols, prepared);
}

void dense_product_prepared(const float* prepared, std::int64_t m, const DenseView& w, std::int64_t first_row,
                            std::int64_t last_row, float* y, std::int64_t y_stride) {
  if (first_row >= last_row) return;
  const std::int64_t stride = prepared_stride(w.cols, simd::kDenseChunk);
  for (std::int64_t i = 0; i < m; i += simd::kDenseMaxRows) {
    simd::dense_product_rows(prepared + i * stride, std::min(simd::kDenseMaxRows, m - i), stride, w,
                             first_row, last_row, y + i * y_stride, y_stride);
  }
}

void narrow(const float* from, std::int64_t n, Bf16* to) {
  simd::narrow(from, n, to);
}

template void dense_prepare<float>(const float*, std::int64_t, std::int64_t, std::int64_t, float*);
template void dense_prepare<Bf16>(const Bf16*, std::int64_t, std::int64_t, std::int64_t, float*);

namespace reference {

template <class T>
void dense_product(const T* x, std::int64_t m, std::int64_t x_stride, const DenseView& w,
                   std::int64_t first_row, std::int64_t last_row, float* y, std::int64_t y_stride) {
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t n = first_row; n < last_row; ++n) {
      double sum = 0.0;
      for (std::int64_t k = 0; k < w.cols; ++k)
        sum += static_cast<double>(to_float(x[i * x_stride + k])) * to_float(w.values[n * w.cols + k]);
      y[i * y_stride + n] = static_cast<float>(sum * static_cast<double>(w.alpha));
    }
  }
}

template void dense_product<float>(const float*, std::int64_t, std::int64_t, const DenseView&, std::int64_t,
                                   std::int64_t, float*, std::int64_t);
template void dense_product<Bf16>(const Bf16*, std::int64_t, std::int64_t, const DenseView&, std::int64_t,
                                  std::int64_t, float*, std::int64_t);

}  // namespace reference
}  // namespace tetrad::nvfp4

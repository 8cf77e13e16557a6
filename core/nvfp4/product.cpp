#include <tetrad/nvfp4/product.h>

#include <algorithm>
#include <vector>

#include "nvfp4/prepare_rows.h"
#include "nvfp4/simd_product.h"

namespace tetrad::nvfp4 {
std::int64_t prepared_floats(std::int64_t m, std::int64_t cols) {
  return m * prepared_stride(cols, simd::product_chunk());
}

template <class T>
void prepare(const T* x, std::int64_t m, std::int64_t x_stride, std::int64_t cols, float* prepared) {
  if (simd::product_chunk() == 128)
    prepare_rows<8>(x, m, x_stride, cols, prepared);
  else
    prepare_rows<2>(x, m, x_stride, cols, prepared);
}

template void prepare<float>(const float*, std::int64_t, std::int64_t, std::int64_t, float*);
template void prepare<Bf16>(const Bf16*, std::int64_t, std::int64_t, std::int64_t, float*);

void product_prepared(const float* prepared, std::int64_t m, const PackedView& w, std::int64_t first_row,
                      std::int64_t last_row, float* y, std::int64_t y_stride) {
  if (first_row >= last_row) return;
  const std::int64_t stride = prepared_stride(w.cols, simd::product_chunk());
  for (std::int64_t i = 0; i < m; i += simd::kProductMaxRows) {
    simd::product_rows(prepared + i * stride, std::min(simd::kProductMaxRows, m - i), stride, w, first_row,
                       last_row, y + i * y_stride, y_stride);
  }
}

template <class T>
void product(const T* x, std::int64_t m, std::int64_t x_stride, const PackedView& w, std::int64_t first_row,
             std::int64_t last_row, float* y, std::int64_t y_stride) {
  if (m <= 0 || first_row >= last_row) return;
  std::vector<float> prepared(static_cast<std::size_t>(prepared_floats(m, w.cols)));
  prepare(x, m, x_stride, w.cols, prepared.data());
  product_prepared(prepared.data(), m, w, first_row, last_row, y, y_stride);
}

template void product<float>(const float*, std::int64_t, std::int64_t, const PackedView&, std::int64_t,
                             std::int64_t, float*, std::int64_t);
template void product<Bf16>(const Bf16*, std::int64_t, std::int64_t, const PackedView&, std::int64_t,
                            std::int64_t, float*, std::int64_t);

namespace reference {

template <class T>
void product(const T* x, std::int64_t m, std::int64_t x_stride, const PackedView& w, std::int64_t first_row,
             std::int64_t last_row, float* y, std::int64_t y_stride) {
  const std::int64_t row_codes = packed_cols(w.cols) / 2;
  const std::int64_t row_scales = packed_cols(w.cols) / kBlock;
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t n = first_row; n < last_row; ++n) {
      double sum = 0.0;
      for (std::int64_t k = 0; k < w.cols; ++k) {
        const double element = e2m1_decode(e2m1_at(w.codes + n * row_codes, k));
        const double scale = e4m3_decode(w.scales[n * row_scales + k / kBlock]);
        sum += static_cast<double>(to_float(x[i * x_stride + k])) * (element * scale);
      }
      y[i * y_stride + n] = static_cast<float>(sum * static_cast<double>(w.decode));
    }
  }
}

template void product<float>(const float*, std::int64_t, std::int64_t, const PackedView&, std::int64_t,
                             std::int64_t, float*, std::int64_t);
template void product<Bf16>(const Bf16*, std::int64_t, std::int64_t, const PackedView&, std::int64_t,
                            std::int64_t, float*, std::int64_t);

}  // namespace reference
}  // namespace tetrad::nvfp4

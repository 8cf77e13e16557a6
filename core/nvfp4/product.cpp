#include <tetrad/nvfp4/product.h>

#include <algorithm>
#include <vector>

#include "nvfp4/simd_product.h"

namespace tetrad::nvfp4 {
namespace {

// A row of x in the kernel's order: chunk by chunk the even elements, then the odd ones; zeros behind the
// end.
template <class T>
void prepare_row(const T* x, std::int64_t cols, float* out) {
  constexpr std::int64_t half = simd::kProductChunk / 2;
  const std::int64_t whole = cols / simd::kProductChunk * simd::kProductChunk;
  for (std::int64_t c = 0; c < whole; c += simd::kProductChunk) {
    for (std::int64_t i = 0; i < half; ++i) {
      out[c + i] = to_float(x[c + 2 * i]);
      out[c + half + i] = to_float(x[c + 2 * i + 1]);
    }
  }
  if (whole == cols) return;
  for (std::int64_t i = 0; i < half; ++i) {
    const std::int64_t even = whole + 2 * i;
    out[whole + i] = even < cols ? to_float(x[even]) : 0.0f;
    out[whole + half + i] = even + 1 < cols ? to_float(x[even + 1]) : 0.0f;
  }
}

}  // namespace

template <class T>
void product(const T* x, std::int64_t m, std::int64_t x_stride, const PackedView& w, std::int64_t first_row,
             std::int64_t last_row, float* y, std::int64_t y_stride) {
  if (m <= 0 || first_row >= last_row) return;
  const std::int64_t stride = (w.cols + simd::kProductChunk - 1) / simd::kProductChunk * simd::kProductChunk;
  thread_local std::vector<float> prepared;
  prepared.resize(
      std::max(prepared.size(), static_cast<std::size_t>(std::min(m, simd::kProductMaxRows) * stride)));
  for (std::int64_t i = 0; i < m; i += simd::kProductMaxRows) {
    const std::int64_t batch = std::min(simd::kProductMaxRows, m - i);
    for (std::int64_t j = 0; j < batch; ++j)
      prepare_row(x + (i + j) * x_stride, w.cols, prepared.data() + j * stride);
    simd::product_rows(prepared.data(), batch, stride, w, first_row, last_row, y + i * y_stride, y_stride);
  }
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

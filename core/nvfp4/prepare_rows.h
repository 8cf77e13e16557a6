// How rows of x are laid out for the product kernels: in chunks of 16 * g elements, element g * j + i of a
// chunk at i * 16 + j, widened to float, zeros behind the end.
#pragma once

#include <tetrad/nvfp4/half.h>

#include <cstdint>

namespace tetrad::nvfp4 {

inline std::int64_t prepared_stride(std::int64_t cols, std::int64_t chunk) {
  return (cols + chunk - 1) / chunk * chunk;
}

template <std::int64_t g, class T>
void prepare_rows(const T* x, std::int64_t m, std::int64_t x_stride, std::int64_t cols, float* out) {
  constexpr std::int64_t chunk = 16 * g;
  for (std::int64_t row = 0; row < m; ++row, x += x_stride, out += prepared_stride(cols, chunk)) {
    std::int64_t c = 0;
    for (; c + chunk <= cols; c += chunk) {
      for (std::int64_t i = 0; i < g; ++i) {
        for (std::int64_t j = 0; j < 16; ++j) out[c + i * 16 + j] = to_float(x[c + g * j + i]);
      }
    }
    if (c == cols) continue;
    for (std::int64_t i = 0; i < g; ++i) {
      for (std::int64_t j = 0; j < 16; ++j) {
        const std::int64_t from = c + g * j + i;
        out[c + i * 16 + j] = from < cols ? to_float(x[from]) : 0.0f;
      }
    }
  }
}

}  // namespace tetrad::nvfp4

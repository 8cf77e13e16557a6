// Weights and activations for tests of the packed product, on both sides, and its exact sums.
#pragma once

#include <gtest/gtest.h>
#include <tetrad/nvfp4/cuda/packed_linear.h>
#include <tetrad/nvfp4/packed_tensor.h>

#include <cmath>
#include <memory>
#include <random>
#include <vector>

#include "gpu/device_array.h"

namespace tetrad::nvfp4 {

// A weight on both sides, hi or hi + lo, random codes and scales, and its decoded values.
struct Weight {
  std::int64_t rows, cols;
  float alpha;
  std::vector<std::uint8_t> codes, lo, scales;
  std::vector<float> dense;  // code * block scale; hi + lo / 4 rounded to T by the caller's type
  std::unique_ptr<DeviceArray<std::uint8_t>> on_codes, on_lo, on_scales;
};

template <class T>
Weight make_weight(std::mt19937& rng, std::int64_t rows, std::int64_t cols, float alpha, bool with_lo) {
  Weight w{rows, cols, alpha, {}, {}, {}, {}, nullptr, nullptr, nullptr};
  const std::int64_t padded = packed_cols(cols);
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < padded; c += 2) {
      const auto keep = [&](std::uint32_t code, std::int64_t at) { return at < cols ? code & 15u : 0u; };
      w.codes.push_back(static_cast<std::uint8_t>(keep(rng(), c) | keep(rng(), c + 1) << 4));
      w.lo.push_back(static_cast<std::uint8_t>(keep(rng(), c) | keep(rng(), c + 1) << 4));
    }
    // All sizes of scales, subnormal and zero ones included, mostly of one range as in real weights.
    for (std::int64_t c = 0; c < padded; c += kBlock)
      w.scales.push_back(static_cast<std::uint8_t>(rng() % 8 == 0 ? rng() % 0x7F : 0x30 + rng() % 24));
  }
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < cols; ++c) {
      const float scale = e4m3_decode(w.scales[static_cast<std::size_t>((r * padded + c) / kBlock)]);
      const float hi = e2m1_decode(e2m1_at(w.codes.data(), r * padded + c));
      const float lo = e2m1_decode(e2m1_at(w.lo.data(), r * padded + c)) / 4;
      w.dense.push_back(with_lo ? to_float(from_float<T>((hi + lo) * scale)) : hi * scale);
    }
  }
  w.on_codes = std::make_unique<DeviceArray<std::uint8_t>>(w.codes);
  w.on_scales = std::make_unique<DeviceArray<std::uint8_t>>(w.scales);
  if (with_lo) w.on_lo = std::make_unique<DeviceArray<std::uint8_t>>(w.lo);
  return w;
}

template <class T>
std::vector<T> make_x(std::mt19937& rng, std::int64_t m, std::int64_t stride) {
  std::normal_distribution<float> normal;
  std::vector<T> x;
  for (std::int64_t i = 0; i < m * stride; ++i)
    x.push_back(from_float<T>(normal(rng) * (rng() % 64 == 0 ? 30.0f : 1.0f)));
  return x;
}

inline cuda::PackedLinear on_device(const Weight& w, void* y, std::int64_t y_stride) {
  return {w.on_codes->get(), w.on_scales->get(), w.on_lo ? w.on_lo->get() : nullptr, w.alpha, w.rows, y,
          y_stride};
}

template <class T>
void expect_product(const Weight& w, const std::vector<T>& x, std::int64_t m, std::int64_t stride,
                    const std::vector<float>& y, std::int64_t y_stride) {
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t r = 0; r < w.rows; ++r) {
      double sum = 0.0, size = 0.0;
      for (std::int64_t k = 0; k < w.cols; ++k) {
        const double product = static_cast<double>(w.dense[static_cast<std::size_t>(r * w.cols + k)]) *
                               to_float(x[static_cast<std::size_t>(i * stride + k)]);
        sum += product;
        size += std::abs(product);
      }
      const double bound =
          (static_cast<double>(w.cols) / 16 + 32) * std::ldexp(1.0, -22) * std::abs(w.alpha) * size + 1e-30;
      ASSERT_NEAR(y[static_cast<std::size_t>(i * y_stride + r)], w.alpha * sum, bound)
          << "x row " << i << ", weight row " << r << " of " << w.rows << " x " << w.cols;
    }
  }
}

}  // namespace tetrad::nvfp4

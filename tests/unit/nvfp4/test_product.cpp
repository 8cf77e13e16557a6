// The packed product against the double-precision reference within its stated bound, and its promises of
// sameness.
#include <gtest/gtest.h>
#include <tetrad/nvfp4/packed_tensor.h>
#include <tetrad/nvfp4/product.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "support/every_target.h"
#include "support/gaussian.h"

namespace tetrad::nvfp4 {
namespace {

using test::gaussian;

class Product : public test::EveryTarget {};

INSTANTIATE_TEST_SUITE_P(Target, Product, testing::ValuesIn(test::vector_targets()), test::target_name);

PackedView view(const PackedTensor& p) {
  return {p.codes.data(), p.scales.data(), p.global.decode, p.rows, p.cols};
}

template <class T>
void check_bound(std::int64_t m, std::int64_t n, std::int64_t k, float decode_factor, unsigned seed) {
  const auto weights = gaussian(n * k, seed, 0.05f);
  const PackedTensor packed = encode(weights.data(), n, k, k);
  PackedView w = view(packed);
  w.decode *= decode_factor;
  const std::int64_t x_stride = k + 3, y_stride = n + 2;
  std::vector<T> x;
  for (const float v : gaussian(m * x_stride, seed + 1, 1.0f)) x.push_back(from_float<T>(v));
  std::vector<float> y(static_cast<std::size_t>(m * y_stride), 77.0f), expected = y;
  product(x.data(), m, x_stride, w, 0, n, y.data(), y_stride);
  reference::product(x.data(), m, x_stride, w, 0, n, expected.data(), y_stride);

  std::vector<float> dense(static_cast<std::size_t>(n * k));
  dequantize(w.codes, w.scales, w.decode, n, k, dense.data());
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t j = 0; j < n; ++j) {
      double mass = 0.0;
      for (std::int64_t c = 0; c < k; ++c) {
        mass += std::abs(static_cast<double>(to_float(x[static_cast<std::size_t>(i * x_stride + c)])) *
                         dense[static_cast<std::size_t>(j * k + c)]);
      }
      const double bound = (static_cast<double>(k) / 8 + 16) * std::ldexp(1.0, -24) * mass;
      const auto at = static_cast<std::size_t>(i * y_stride + j);
      ASSERT_NEAR(y[at], expected[at], bound)
          << "m " << m << " n " << n << " k " << k << " at " << i << ", " << j;
    }
    for (std::int64_t j = n; j < y_stride; ++j)
      ASSERT_EQ(y[static_cast<std::size_t>(i * y_stride + j)], 77.0f);
  }
}

TEST_P(Product, StaysWithinItsBound) {
  unsigned seed = 100;
  for (const std::int64_t k : {1, 16, 31, 32, 48, 240, 256, 272, 576, 1536, 2049}) {
    for (const std::int64_t n : {1, 5, 8}) {
      for (const std::int64_t m : {1, 2, 3, 4, 5, 6, 7, 8, 11}) {
        check_bound<float>(m, n, k, 1.0f, ++seed);
        check_bound<Bf16>(m, n, k, 0.7f, ++seed);
        if (HasFatalFailure()) return;
      }
    }
  }
}

// x is one unit vector: the product picks a column of W exactly, so any element in the wrong place shows.
TEST_P(Product, PicksColumnsExactly) {
  const std::int64_t n = 7, k = 304;
  const auto weights = gaussian(n * k, 4, 1.0f);
  const PackedTensor packed = encode(weights.data(), n, k, k);
  std::vector<float> dense(static_cast<std::size_t>(n * k)), y(static_cast<std::size_t>(n));
  dequantize(packed.codes.data(), packed.scales.data(), packed.global.decode, n, k, dense.data());
  for (std::int64_t c = 0; c < k; ++c) {
    std::vector<float> x(static_cast<std::size_t>(k), 0.0f);
    x[static_cast<std::size_t>(c)] = 1.0f;
    product(x.data(), 1, k, view(packed), 0, n, y.data(), n);
    for (std::int64_t j = 0; j < n; ++j) {
      ASSERT_EQ(y[static_cast<std::size_t>(j)], dense[static_cast<std::size_t>(j * k + c)]) << c;
    }
  }
}

TEST_P(Product, DoesNotDependOnBatchOrSplit) {
  const std::int64_t m = 13, n = 23, k = 592;
  const auto weights = gaussian(n * k, 5, 1.0f);
  const PackedTensor packed = encode(weights.data(), n, k, k);
  const auto x = gaussian(m * k, 6, 1.0f);
  std::vector<float> whole(static_cast<std::size_t>(m * n)), parts = whole;
  product(x.data(), m, k, view(packed), 0, n, whole.data(), n);
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t j = 0; j < n; j += i % 5 + 1) {
      product(x.data() + i * k, 1, k, view(packed), j, std::min(n, j + i % 5 + 1), parts.data() + i * n, n);
    }
  }
  EXPECT_EQ(whole, parts);
}

TEST_P(Product, EveryScaleCodeCounts) {
  std::vector<std::uint8_t> codes(8 * 256, 0x11), scales(256);  // every element is .5
  for (int s = 0; s < 256; ++s) scales[static_cast<std::size_t>(s)] = static_cast<std::uint8_t>(s);
  const std::vector<float> x(16, 1.0f);
  std::vector<float> y(256);
  product(x.data(), 1, 16, {codes.data(), scales.data(), 1.0f, 256, 16}, 0, 256, y.data(), 256);
  for (int s = 0; s < 256; ++s) {
    const float expected = 8.0f * e4m3_decode(static_cast<std::uint8_t>(s));
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(y[static_cast<std::size_t>(s)])) << s;
    } else {
      EXPECT_EQ(y[static_cast<std::size_t>(s)], expected) << s;
    }
  }
}

}  // namespace
}  // namespace tetrad::nvfp4

// The product of a few rows with a dense bf16 weight against the double-precision reference within its stated
// bound, and its promises of sameness, for every vector target of the machine.
#include <gtest/gtest.h>
#include <tetrad/nvfp4/dense_product.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "support/every_target.h"
#include "support/gaussian.h"

namespace tetrad::nvfp4 {
namespace {

using test::gaussian;

class DenseProduct : public test::EveryTarget {};

INSTANTIATE_TEST_SUITE_P(Target, DenseProduct, testing::ValuesIn(test::vector_targets()), test::target_name);

template <class T>
std::vector<float> product(const std::vector<T>& x, std::int64_t m, std::int64_t x_stride, const DenseView& w,
                           std::int64_t y_stride) {
  std::vector<float> prepared(static_cast<std::size_t>(dense_prepared_floats(m, w.cols)));
  dense_prepare(x.data(), m, x_stride, w.cols, prepared.data());
  std::vector<float> y(static_cast<std::size_t>(m * y_stride), 77.0f);
  dense_product_prepared(prepared.data(), m, w, 0, w.rows, y.data(), y_stride);
  return y;
}

template <class T>
void check_bound(std::int64_t m, std::int64_t n, std::int64_t k, float alpha, unsigned seed) {
  const auto weights = gaussian<Bf16>(n * k, seed, 0.05f);
  const DenseView w{weights.data(), alpha, n, k};
  const std::int64_t x_stride = k + 3, y_stride = n + 2;
  const auto x = gaussian<T>(m * x_stride, seed + 1, 1.0f);
  const auto y = product(x, m, x_stride, w, y_stride);
  std::vector<float> expected(y.size(), 77.0f);
  reference::dense_product(x.data(), m, x_stride, w, 0, n, expected.data(), y_stride);
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t j = 0; j < y_stride; ++j) {
      double mass = 0.0;
      for (std::int64_t c = 0; j < n && c < k; ++c) {
        mass += std::abs(static_cast<double>(to_float(x[static_cast<std::size_t>(i * x_stride + c)])) *
                         to_float(weights[static_cast<std::size_t>(j * k + c)]));
      }
      const double bound = (static_cast<double>(k) / 8 + 16) * std::ldexp(1.0, -24) *
                           std::abs(static_cast<double>(alpha)) * mass;
      const auto at = static_cast<std::size_t>(i * y_stride + j);
      ASSERT_NEAR(y[at], expected[at], bound)
          << "m " << m << " n " << n << " k " << k << " at " << i << ", " << j;
    }
  }
}

TEST_P(DenseProduct, StaysWithinItsBound) {
  unsigned seed = 100;
  for (const std::int64_t k : {1, 2, 15, 16, 31, 32, 33, 64, 95, 240, 576, 1536, 2049}) {
    for (const std::int64_t n : {1, 3, 4, 9}) {
      for (const std::int64_t m : {1, 2, 3, 4, 5, 9}) {
        check_bound<float>(m, n, k, 1.0f, ++seed);
        check_bound<Bf16>(m, n, k, -0.7f, ++seed);
        if (HasFatalFailure()) return;
      }
    }
  }
}

// x is one unit vector: the product picks a column of W exactly, so any element in the wrong place shows.
TEST_P(DenseProduct, PicksColumnsExactly) {
  const std::int64_t n = 7, k = 301;
  const auto weights = gaussian<Bf16>(n * k, 4, 1.0f);
  for (std::int64_t c = 0; c < k; ++c) {
    std::vector<float> x(static_cast<std::size_t>(k), 0.0f);
    x[static_cast<std::size_t>(c)] = 1.0f;
    const auto y = product(x, 1, k, {weights.data(), 1.0f, n, k}, n);
    for (std::int64_t j = 0; j < n; ++j) {
      ASSERT_EQ(y[static_cast<std::size_t>(j)], to_float(weights[static_cast<std::size_t>(j * k + c)])) << c;
    }
  }
}

TEST_P(DenseProduct, DoesNotDependOnBatchOrSplit) {
  const std::int64_t m = 7, n = 23, k = 593;
  const auto weights = gaussian<Bf16>(n * k, 5, 1.0f);
  const DenseView w{weights.data(), 1.0f, n, k};
  const auto x = gaussian<Bf16>(m * k, 6, 1.0f);
  const auto whole = product(x, m, k, w, n);
  std::vector<float> parts(whole.size()), prepared(static_cast<std::size_t>(dense_prepared_floats(1, k)));
  for (std::int64_t i = 0; i < m; ++i) {
    dense_prepare(x.data() + i * k, 1, k, k, prepared.data());
    for (std::int64_t j = 0; j < n; j += i % 5 + 1)
      dense_product_prepared(prepared.data(), 1, w, j, std::min(n, j + i % 5 + 1), parts.data() + i * n, n);
  }
  EXPECT_EQ(whole, parts);
}

TEST_P(DenseProduct, NonFiniteValuesShow) {
  const std::int64_t k = 70;
  const float inf = std::numeric_limits<float>::infinity();
  for (const std::int64_t at : {0, 1, 33, 69}) {
    std::vector<Bf16> weights(static_cast<std::size_t>(k), to_bf16(1.0f));
    const std::vector<float> x(static_cast<std::size_t>(k), 2.0f);
    weights[static_cast<std::size_t>(at)] = to_bf16(-inf);
    EXPECT_EQ(product(x, 1, k, {weights.data(), 1.0f, 1, k}, 1)[0], -inf) << at;
    weights[static_cast<std::size_t>(at)] = to_bf16(std::numeric_limits<float>::quiet_NaN());
    EXPECT_TRUE(std::isnan(product(x, 1, k, {weights.data(), 1.0f, 1, k}, 1)[0])) << at;
  }
}

}  // namespace
}  // namespace tetrad::nvfp4

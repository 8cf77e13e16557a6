#include "ops/rope.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace tetrad::ops {
namespace {

std::vector<double> frequencies(int dim, double theta) {
  std::vector<double> result;
  for (int i = 0; i < dim / 2; ++i) result.push_back(std::pow(theta, -2.0 * i / dim));
  return result;
}

// The formula, element by element: (a, b) = (x[i], x[i + D/2]) rotated by angle position * inv_freq[i].
void expect_rotated(const at::Tensor& x, const at::Tensor& y, const std::vector<double>& inv_freq,
                    std::int64_t begin, double tolerance) {
  const std::int64_t half = x.size(2) / 2;
  for (std::int64_t t = 0; t < x.size(0); ++t) {
    for (std::int64_t h = 0; h < x.size(1); ++h) {
      for (std::int64_t i = 0; i < half; ++i) {
        const double angle = static_cast<double>(begin + t) * inv_freq[static_cast<std::size_t>(i)];
        const double a = x[t][h][i].item<double>(), b = x[t][h][i + half].item<double>();
        EXPECT_NEAR(y[t][h][i].item<double>(), a * std::cos(angle) - b * std::sin(angle), tolerance);
        EXPECT_NEAR(y[t][h][i + half].item<double>(), b * std::cos(angle) + a * std::sin(angle), tolerance);
      }
    }
  }
}

TEST(Rope, equals_the_formula) {
  at::manual_seed(1);
  const std::vector<double> inv_freq = frequencies(16, 10000.0);
  RopeTable table(inv_freq, 1.0, at::kCPU);
  const at::Tensor x = at::randn({4, 3, 16});
  expect_rotated(x, table.apply(x, 11), inv_freq, 11, 1e-5);
}

TEST(Rope, growing_the_table_changes_nothing) {
  at::manual_seed(2);
  RopeTable small(frequencies(8, 1e6), 1.0, at::kCPU), large(frequencies(8, 1e6), 1.0, at::kCPU);
  const at::Tensor x = at::randn({1, 2, 8});
  (void)large.apply(x, 9000);
  EXPECT_TRUE(small.apply(x, 700).equal(large.apply(x, 700)));
}

TEST(Rope, attention_scaling_multiplies) {
  at::manual_seed(3);
  RopeTable plain(frequencies(8, 1e4), 1.0, at::kCPU), scaled(frequencies(8, 1e4), 2.0, at::kCPU);
  const at::Tensor x = at::randn({3, 1, 8});
  EXPECT_LT((scaled.apply(x, 5) - plain.apply(x, 5) * 2).abs().max().item<double>(), 1e-6);
}

// Every intermediate is rounded, as in transformers: the test does it with scalars.
template <class T>
void expect_rounded_at_each_step(at::ScalarType dtype) {
  at::manual_seed(4);
  const std::vector<double> inv_freq = frequencies(16, 10000.0);
  RopeTable table(inv_freq, 1.0, at::kCPU);
  const at::Tensor x = at::randn({5, 3, 16}).to(dtype);
  (void)table.apply(x.to(at::kFloat), 40);  // a table of another dtype must not be taken
  const at::Tensor y = table.apply(x, 40);
  ASSERT_EQ(y.scalar_type(), dtype);
  const at::Tensor angle =
      at::arange(40, 45, at::kFloat).unsqueeze(1) * at::tensor(inv_freq).to(at::kFloat).unsqueeze(0);
  const at::Tensor cos = angle.cos(), sin = angle.sin();
  const auto rounded = [](float value) { return static_cast<float>(static_cast<T>(value)); };
  for (std::int64_t t = 0; t < 5; ++t) {
    for (std::int64_t h = 0; h < 3; ++h) {
      for (std::int64_t i = 0; i < 8; ++i) {
        const float c = rounded(cos[t][i].item<float>()), s = rounded(sin[t][i].item<float>());
        const float a = x[t][h][i].item<float>(), b = x[t][h][i + 8].item<float>();
        EXPECT_EQ(y[t][h][i].item<float>(), rounded(rounded(a * c) - rounded(b * s)));
        EXPECT_EQ(y[t][h][i + 8].item<float>(), rounded(rounded(b * c) + rounded(a * s)));
      }
    }
  }
}

TEST(Rope, sixteen_bits_are_rounded_at_each_step) {
  expect_rounded_at_each_step<c10::BFloat16>(at::kBFloat16);
  expect_rounded_at_each_step<c10::Half>(at::kHalf);
}

}  // namespace
}  // namespace tetrad::ops

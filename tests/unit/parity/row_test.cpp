// Figures of single rows against closed forms and against numpy's (the constants below: sum of p * log(p / q)
// over softmax in float64).
#include "parity/compare/row.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "parity/compare/quantile.h"

namespace tetrad::parity {
namespace {

using Row = std::vector<float>;

TEST(CompareRows, ClosedForms) {
  // softmax of (ln 3, 0) is (3/4, 1/4), of (0, 0) it is (1/2, 1/2).
  const auto ln3 = static_cast<float>(std::log(3.0));
  const RowFigures f = compare_rows(Row{ln3, 0}, Row{0, 0});
  EXPECT_NEAR(f.kl, 0.75 * std::log(1.5) + 0.25 * std::log(0.5), 1e-7);
  EXPECT_NEAR(f.max_difference, ln3, 1e-7);
  EXPECT_NEAR(f.sum_difference, ln3, 1e-7);
}

TEST(CompareRows, IsNotSymmetric) {
  const double forth = compare_rows(Row{2, 0, 0}, Row{0, 0, 0}).kl;
  const double back = compare_rows(Row{0, 0, 0}, Row{2, 0, 0}).kl;
  EXPECT_GT(std::fabs(forth - back), 0.01);
}

TEST(CompareRows, AgainstNumpy) {
  const Row a = {1.5F, -2.25F, 0.125F, 3.0F, -0.5F};
  const Row b = {1.0F, -2.0F, 0.5F, 2.5F, 0.25F};
  EXPECT_NEAR(compare_rows(a, b).kl, 0.04557282243997138, 1e-12);
  EXPECT_NEAR(compare_rows(b, a).kl, 0.06044663045719273, 1e-12);
  EXPECT_NEAR(compare_rows(a, b).reference_spread, 1.7818529681205462, 1e-12);
}

TEST(CompareRows, AConstantAddedToAllLogitsIsNoKl) {
  const Row a = {1, 2, 3, 4};
  Row b = a;
  for (float& v : b) v += 64;
  const RowFigures f = compare_rows(a, b);
  EXPECT_LT(f.kl, 1e-14);
  EXPECT_EQ(f.max_difference, 64);
}

TEST(CompareRows, HugeLogitsDoNotOverflow) {
  const RowFigures f = compare_rows(Row{3e38F, -3e38F}, Row{-3e38F, 3e38F});
  EXPECT_TRUE(f.own_finite);
  EXPECT_GT(f.kl, 1e38);
  EXPECT_FALSE(f.agrees);
}

TEST(CompareRows, TiesHaveNoRightAnswer) {
  EXPECT_TRUE(compare_rows(Row{5, 5, 1}, Row{4, 5, 1}).agrees);   // the reference holds both for equal
  EXPECT_TRUE(compare_rows(Row{4, 5, 1}, Row{5, 5, 1}).agrees);   // the own side does
  EXPECT_FALSE(compare_rows(Row{4, 5, 1}, Row{5, 4, 1}).agrees);  // neither does
  EXPECT_EQ(compare_rows(Row{5, 5, 1}, Row{5, 5, 1}).reference_top, 0);
  EXPECT_EQ(compare_rows(Row{4, 5, 1}, Row{5, 4, 1}).reference_gap, 1);
}

TEST(CompareRows, NotFinite) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float inf = std::numeric_limits<float>::infinity();
  EXPECT_FALSE(compare_rows(Row{1, 2}, Row{1, nan}).own_finite);
  EXPECT_TRUE(compare_rows(Row{1, 2}, Row{1, nan}).reference_finite);
  EXPECT_FALSE(compare_rows(Row{-inf, 2}, Row{1, 2}).reference_finite);
  EXPECT_EQ(compare_rows(Row{1, 2}, Row{1, nan}).kl, 0);
}

TEST(Quantile, IsTheInterpolatedOrderStatistic) {
  std::mt19937 rng(5);
  for (const std::size_t n : {1U, 2U, 3U, 100U, 101U, 4999U}) {
    for (const bool ties : {false, true}) {
      Row values(n);
      for (float& v : values) {
        v = ties ? static_cast<float>(rng() % 4)
                 : std::ldexp(static_cast<float>(rng() % 1000), -int(rng() % 40));
      }
      for (const double q : {0.0, 0.5, 0.99, 1.0}) {
        Quantile quantile(q);
        for (const float v : values) quantile.count(v);
        quantile.narrow();
        for (const float v : values) quantile.count_again(v);
        Row sorted = values;
        std::sort(sorted.begin(), sorted.end());
        const double rank = q * static_cast<double>(n - 1);
        const auto low = static_cast<std::size_t>(rank);
        const double below = sorted[low];
        const double above = sorted[std::min(low + 1, n - 1)];
        EXPECT_DOUBLE_EQ(quantile.value(), below + (rank - std::floor(rank)) * (above - below))
            << n << " " << q;
      }
    }
  }
}

TEST(Quantile, NothingAtAll) {
  Quantile quantile(0.99);
  quantile.narrow();
  EXPECT_EQ(quantile.value(), 0);
}

}  // namespace
}  // namespace tetrad::parity

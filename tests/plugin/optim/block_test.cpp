// The block of optim-adamw-nvfp4 by itself: what is stored again without a step, how scales move, what
// rounding does to m, r and w.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "plane_block.h"

namespace tetrad::optim_adamw_nvfp4 {
namespace {

using nvfp4::DrawStream;

constexpr float kGrid[8] = {0, 0.5F, 1, 1.5F, 2, 3, 4, 6};

float grid_value(std::uint32_t code) {
  return (code & 8U) != 0 ? -kGrid[code & 7U] : kGrid[code & 7U];
}
float e4m3_value(std::uint8_t code) {  // from the format's definition
  const int exponent = code >> 3, mantissa = code & 7;
  return exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -9)
                       : std::ldexp(1.0F + static_cast<float>(mantissa) / 8.0F, exponent - 7);
}

template <int P>
double weight(const StateBlock<P>& b, int k) {
  double sum = 0, part = 1;
  for (int p = 0; p < P; ++p, part /= 4) sum += grid_value(nvfp4::code_at(b.w[p], k)) * part;
  return sum * e4m3_value(b.w_scale);
}

template <int P>
StateBlock<P> block_of(const float (&x)[16], std::uint8_t scale) {
  StateBlock<P> b{};
  const std::uint32_t none[16] = {};
  nvfp4::encode_block<P, false>(x, scale, 1.0F, none, b.w);
  b.w_scale = scale;
  return b;
}

optim::AdamFactors factors(double lr, double decay = 0.1, std::int64_t step = 1) {
  return optim::adam_factors({}, lr, decay, step);
}

TensorScales scales_for(float g_bound, const optim::AdamFactors& f) {
  return next_scales({1.0F, 1.0F, 0, 0}, g_bound, 1.0F, f);
}

// Random blocks whose greatest element lies anywhere under the scale: the scale is halved again and again.
template <int P>
void stays_without_a_step() {
  std::mt19937 random(11 + P);
  std::normal_distribution<float> normal;
  for (int round = 0; round < 3000; ++round) {
    float x[16];
    const auto scale = static_cast<std::uint8_t>(1 + random() % 0x7E);
    const float unit = e4m3_value(scale) * (round % 3 == 0 ? 2.4F : 0.3F * static_cast<float>(1 + round % 9));
    for (float& value : x)
      value = std::clamp(normal(random) * unit, -8 * e4m3_value(scale), 8 * e4m3_value(scale));
    StateBlock<P> b = block_of<P>(x, scale);
    double before[16];
    for (int k = 0; k < 16; ++k) before[k] = weight(b, k);
    for (int step = 1; step <= 8; ++step) {
      float g[16];
      for (float& value : g) value = normal(random);
      const auto f = factors(0.0, 0.1, step);
      ASSERT_TRUE(adamw_block(g, b, scales_for(8.0F, f), f,
                              DrawStream{5, 6, static_cast<std::uint32_t>(step)}, round));
    }
    for (int k = 0; k < 16; ++k)
      ASSERT_EQ(weight(b, k), before[k]) << "planes " << P << " scale " << int(scale);
  }
}

TEST(PlaneBlock, WithoutAStepTheWeightsStayToTheBit) {
  stays_without_a_step<1>();
  stays_without_a_step<2>();
  stays_without_a_step<3>();
}

TEST(PlaneBlock, ScalesMoveByTwoAndHoldWhatTheyMust) {
  for (int code = 0; code <= 0x7E; ++code) {
    const auto scale = static_cast<std::uint8_t>(code);
    if (can_double(scale)) {
      EXPECT_EQ(e4m3_value(doubled(scale)), 2 * e4m3_value(scale)) << code;
    } else {
      EXPECT_GT(2 * e4m3_value(scale), 448.0F);
    }
    if (can_halve(scale)) {
      EXPECT_EQ(2 * e4m3_value(halved(scale)), e4m3_value(scale)) << code;
    }
  }
  const DrawStream draws{1, 2, 3};
  for (const float y : {3.0F, 5.0F, 7.5F, 7.6F, 14.0F, 1e3F, 1e30F}) {
    const Rescaled r = rescale<2>(0x20, y, draws, 0);
    EXPECT_EQ(e4m3_value(r.scale) * r.factor, e4m3_value(0x20));
    if (r.scale < 0x77) {
      EXPECT_LE(y * r.factor, 7.5F);
    }
    EXPECT_EQ(r.factor<1.0F, y> 7.5F);
  }
  EXPECT_EQ(rescale<2>(0x20, 2.0F, draws, 0).factor, 2.0F);
  EXPECT_EQ(rescale<2>(0x0F, 2.0F, draws, 0).factor, 1.0F);  // its half is no normal scale
}

// A block that overflows one plane moves its scale up as often as keeps the mean.
TEST(PlaneBlock, OnePlaneOverflowsWithoutBias) {
  int up = 0;
  const int rounds = 20000;
  for (int i = 0; i < rounds; ++i)
    up += rescale<1>(0x20, 6.5F, DrawStream{9, 4, static_cast<std::uint32_t>(i)}, i % 7).factor < 1;
  EXPECT_NEAR(static_cast<double>(up) / rounds, 0.25, 4 * std::sqrt(0.25 * 0.75 / rounds));
}

// The device's way to codes, on the host: the same codes as the codec's functions.
TEST(PlaneBlock, FastCodesAreTheCodecs) {
  std::mt19937 random(17);
  const auto compare = [&](float y, std::uint32_t draw) {
    const std::uint32_t nearest = nvfp4::e2m1_encode(y), stochastic = nvfp4::e2m1_encode_stochastic(y, draw);
    ASSERT_EQ(grid_code_at_22(round_magnitude(std::fabs(y))), (nearest & 7U) << 22) << y;
    ASSERT_EQ(stochastic_magnitude(std::fabs(y), draw), stochastic & 7U) << y << " draw " << draw;
  };
  for (int i = 0; i < 2000000; ++i) {
    // Any bits up to 16, and numbers close to the grid and its midpoints.
    const auto any = nvfp4::bits_float(static_cast<std::uint32_t>(random()) % 0x41800000U);
    const float close =
        static_cast<float>(random() % 33) * 0.25F + (static_cast<float>(random() % 65) - 32) * 0x1p-22F;
    compare(any, random() & 0xFFFFU);
    compare(close, i % 3 == 0 ? 0xFFFFU : (i % 3 == 1 ? 0 : random() & 0xFFFFU));
  }
}

// m and r against their rules, worked out here from the grid: nearest for m, a neighbour and never 0 for r.
TEST(PlaneBlock, MomentsFollowTheirRules) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  for (int round = 0; round < 2000; ++round) {
    float x[16], g[16];
    for (float& value : x) value = normal(random) * 0.02F;
    for (float& value : g) value = normal(random) * std::ldexp(1.0F, static_cast<int>(random() % 12) - 8);
    if (round % 5 == 0) std::fill(g + 3, g + 16, 0.0F);
    StateBlock<2> b = block_of<2>(x, 0x10);
    const auto f = factors(1e-3);
    const TensorScales t = scales_for(64.0F, f);
    ASSERT_TRUE(adamw_block(g, b, t, f, DrawStream{1, 2, 3}, round));
    double m_max = 0, r_max = 0;
    for (const float value : g) {
      m_max = std::max(m_max, std::fabs(0.1 * value));
      r_max = std::max(r_max, std::sqrt(0.05) * std::fabs(value));
    }
    const double m_unit = e4m3_value(b.m_scale) * t.m_new, r_unit = e4m3_value(b.r_scale) * t.r_new;
    if (m_unit > 0x1p-6 * t.m_new) {
      EXPECT_NEAR(m_max / 6 / m_unit, 1.0, 1.0 / 15.9);
    }
    if (r_unit > 0x1p-6 * t.r_new) {
      EXPECT_NEAR(r_max / 6 / r_unit, 1.0, 1.0 / 15.9);
    }
    for (int k = 0; k < 16; ++k) {
      const double m = m_unit == 0 ? 0 : 0.1 * static_cast<double>(g[k]) / m_unit;
      const double stored = grid_value(nvfp4::code_at(b.m, k));
      double nearest = 6;
      for (const float value : kGrid) nearest = std::min(nearest, std::fabs(std::fabs(m) - value));
      EXPECT_LE(std::fabs(std::fabs(m) - std::fabs(stored)), nearest + 1e-5) << m << " stored as " << stored;
      const double r = std::sqrt(0.05) * std::fabs(static_cast<double>(g[k])) / r_unit;
      const std::uint32_t code = nvfp4::code_at(b.r, k);
      ASSERT_GE(code, 1U);
      ASSERT_LE(code, 7U);
      const double below = code == 1 ? 0 : kGrid[code - 1], above = code == 7 ? 6.4 : kGrid[code + 1];
      EXPECT_TRUE(r > below - 1e-5 && r < above + 1e-5) << r << " stored as " << kGrid[code];
    }
  }
}

// Where a model reads hi alone, hi has to follow the sum: no jump at a small step, and as far as the sum in
// the end.
template <int P>
void hi_follows_the_sum() {
  std::mt19937 random(31 + P);
  std::normal_distribution<float> normal;
  const int blocks = 4000, steps = 100;
  const double step = 0.005;  // of the weight, in units of the block scale, which is 1
  double first = 0, last = 0;
  for (int block = 0; block < blocks; ++block) {
    float x[16], g[16];
    for (float& value : x) value = normal(random) * 1.5F;
    for (float& value : x) value = std::clamp(value, -5.0F, 5.0F);
    x[3] = 5.5F;  // keeps the scale where it is
    for (float& value : g) value = (random() & 1U) != 0 ? 1.0F : -1.0F;
    StateBlock<P> b = block_of<P>(x, 0x38);
    BlockCodes start = b.w[0];
    const auto moved = [&] {  // against the gradient
      double sum = 0;
      for (int k = 0; k < 16; ++k)
        if (k != 3)
          sum -= g[k] * (grid_value(nvfp4::code_at(b.w[0], k)) - grid_value(nvfp4::code_at(start, k)));
      return sum / 15 / blocks;
    };
    for (int i = 1; i <= steps; ++i) {
      const auto f = factors(step, 0.0, i);
      const DrawStream draws{static_cast<std::uint64_t>(block), 2, static_cast<std::uint32_t>(i)};
      ASSERT_TRUE(adamw_block(g, b, scales_for(8.0F, f), f, draws, block));
      if (i == 1) first += moved();
    }
    last += moved();
  }
  EXPECT_LT(std::fabs(first), 2 * step) << "planes " << P;
  // It lags by an eighth of the distance between two codes, however far it goes.
  EXPECT_GT(last, 0.65 * steps * step) << "planes " << P;
  EXPECT_LT(last, steps * step) << "planes " << P;
}

TEST(PlaneBlock, HiAloneFollowsTheSum) {
  hi_follows_the_sum<2>();
  hi_follows_the_sum<3>();
}

// The mean over many draws is the update in real numbers, for every number of planes.
template <int P>
void is_unbiased() {
  std::mt19937 random(21);
  std::normal_distribution<float> normal;
  float x[16], g[16];
  for (float& value : x) value = normal(random) * 0.8F;
  for (float& value : g) value = normal(random);
  x[3] = 4.0F;  // keeps the scale where it is
  const StateBlock<P> start = block_of<P>(x, 0x38);
  const auto f = factors(0.02, 0.0);
  const int rounds = 20000;
  double sum[16] = {}, squares[16] = {};
  for (int i = 0; i < rounds; ++i) {
    StateBlock<P> b = start;
    ASSERT_TRUE(
        adamw_block(g, b, scales_for(8.0F, f), f, DrawStream{static_cast<std::uint64_t>(i), 2, 1}, 4));
    for (int k = 0; k < 16; ++k) {
      sum[k] += weight(b, k);
      squares[k] += weight(b, k) * weight(b, k);
    }
  }
  for (int k = 0; k < 16; ++k) {
    // First step: m / sqrt(v) is the gradient's sign.
    const double expected = weight(start, k) - 0.02 * (g[k] > 0 ? 1 : -1);
    const double mean = sum[k] / rounds,
                 spread = std::sqrt(std::max(0.0, squares[k] / rounds - mean * mean) / rounds);
    EXPECT_NEAR(mean, expected, 4.5 * spread + 4e-5) << "planes " << P << " element " << k;
  }
}

TEST(PlaneBlock, StochasticRoundingKeepsTheMean) {
  is_unbiased<1>();
  is_unbiased<2>();
  is_unbiased<3>();
}

// Steps of a 6,000th of the last plane's: with 8 random bits, as hardware has them, nothing would ever move.
TEST(PlaneBlock, StepsFarBelowTheGridMoveOnAverage) {
  float x[16] = {4.0F}, g[16];
  for (int k = 0; k < 16; ++k) g[k] = k % 2 == 0 ? 1.0F : -1.0F;
  const StateBlock<2> start = block_of<2>(x, 0x38);  // a scale of 1: lo moves in steps of 0.125
  const auto f = factors(2e-5, 0.0);
  double moved = 0;
  const int rounds = 100000;
  for (int i = 0; i < rounds; ++i) {
    StateBlock<2> b = start;
    ASSERT_TRUE(
        adamw_block(g, b, scales_for(1.0F, f), f, DrawStream{7, static_cast<std::uint32_t>(i), 1}, 0));
    for (int k = 1; k < 16; ++k) moved += (weight(b, k) - weight(start, k)) * (k % 2 == 0 ? -1 : 1);
  }
  EXPECT_NEAR(moved / (15.0 * rounds * 2e-5), 1.0, 0.3);  // about 240 moves: a standard deviation of 0.065
}

TEST(PlaneBlock, ABlockOfZerosComesToLife) {
  float x[16] = {}, g[16] = {};
  StateBlock<2> b = block_of<2>(x, 0);
  auto f = factors(0.01, 0.0);
  ASSERT_TRUE(adamw_block(g, b, scales_for(1.0F, f), f, DrawStream{}, 0));
  EXPECT_EQ(b.w_scale, 0);
  g[4] = 1.0F;
  ASSERT_TRUE(adamw_block(g, b, scales_for(1.0F, f), f, DrawStream{}, 0));
  EXPECT_NEAR(weight(b, 4), -0.01, 0.001);
  EXPECT_EQ(weight(b, 5), 0.0);
}

TEST(PlaneBlock, WhatIsNotFiniteLeavesTheBlockAlone) {
  float x[16] = {1, 2, 3}, g[16] = {};
  const auto f = factors(0.01);
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), 1e30F}) {
    StateBlock<2> b = block_of<2>(x, 0x38);
    g[15] = bad;
    EXPECT_FALSE(adamw_block(g, b, scales_for(1.0F, f), f, DrawStream{}, 0));
    EXPECT_EQ(b.m_scale, 0);
    EXPECT_EQ(b.w_scale, 0x38);
    EXPECT_EQ(weight(b, 2), 3.0);
  }
}

}  // namespace
}  // namespace tetrad::optim_adamw_nvfp4

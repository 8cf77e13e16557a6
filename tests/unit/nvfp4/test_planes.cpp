// Tied planes: the block functions against definitions in double, and the tensor functions against the block
// functions, on every vector target.
#include <gtest/gtest.h>
#include <tetrad/base/error.h>
#include <tetrad/nvfp4/plane_codec.h>
#include <tetrad/nvfp4/planes.h>
#include <tetrad/nvfp4/reference.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "support/every_target.h"
#include "support/gaussian.h"

namespace tetrad::nvfp4 {
namespace {

using test::gaussian;

constexpr double kGrid[8] = {0, .5, 1, 1.5, 2, 3, 4, 6};

double value_of(std::uint32_t code) {
  return (code & 8u) != 0 ? -kGrid[code & 7u] : kGrid[code & 7u];
}

// Over all 65,536 draws the mean of the rounded values is the value itself (to the 2^-16 of a step that the
// draw resolves), only neighbours appear, and grid points stay.
TEST(StochasticE2m1, IsUnbiasedAndTakesNeighboursOnly) {
  std::mt19937 rng(1);
  std::uniform_real_distribution<float> uniform(0.0f, 6.0f);
  std::vector<float> values = {0.0f, 0x1p-30f, 0.25f, 0.49999997f, 1.9999999f, 3.9999998f, 5.9999995f, 1e-6f};
  for (const double g : kGrid) values.push_back(static_cast<float>(g));
  for (int i = 0; i < 40; ++i) values.push_back(uniform(rng));
  for (const float a : values) {
    for (const float y : {a, -a}) {
      int low = 0;
      while (low < 7 && kGrid[low + 1] <= a) ++low;
      const double step = low < 7 ? kGrid[low + 1] - kGrid[low] : 0.0;
      double sum = 0;
      for (std::uint32_t draw = 0; draw < 65536; ++draw) {
        const std::uint32_t code = e2m1_encode_stochastic(y, draw);
        ASSERT_EQ((code & 8u) != 0, std::signbit(y));
        const int magnitude = static_cast<int>(code & 7u);
        ASSERT_TRUE(magnitude == low || (magnitude == low + 1 && a > kGrid[low])) << y << " " << draw;
        sum += value_of(code);
      }
      EXPECT_NEAR(sum / 65536, y, step * 0x1p-17 * 1.001) << y;
    }
  }
}

TEST(StochasticE2m1, SaturatesAndGoesUpWithTheDraw) {
  for (const float y : {6.0f, 6.5f, 1e30f, std::numeric_limits<float>::infinity()}) {
    EXPECT_EQ(e2m1_encode_stochastic(y, 0), 7u);
    EXPECT_EQ(e2m1_encode_stochastic(-y, 65535), 15u);
  }
  EXPECT_EQ(e2m1_encode_stochastic(0.25f, 32767), 0u);
  EXPECT_EQ(e2m1_encode_stochastic(0.25f, 32768), 1u);
  EXPECT_EQ(e2m1_encode_stochastic(5.0f, 32767), 6u);
  EXPECT_EQ(e2m1_encode_stochastic(5.0f, 32768), 7u);
  EXPECT_EQ(e2m1_encode_stochastic(0.5f / 65536, 65535), 1u);  // one of 65,536 draws
  EXPECT_EQ(e2m1_encode_stochastic(0.5f / 65536, 65534), 0u);
}

// Every combination of codes under every scale: the decoded value is the exact one.
template <int P>
void decodes_exactly() {
  for (int scale = 0; scale < 0x7F; scale += scale < 16 ? 1 : 7) {
    const double s = e4m3_decode(static_cast<std::uint8_t>(scale));
    for (std::uint32_t first = 0; first < 16; ++first) {
      for (std::uint32_t rest = 0; rest < (P == 3 ? 16u : 1u); ++rest) {
        BlockCodes planes[P];
        for (int k = 0; k < 16; ++k) {
          const std::uint32_t codes[3] = {first, static_cast<std::uint32_t>(k), rest};
          for (int p = 0; p < P; ++p) planes[p].word[k / 8] |= codes[p] << (4 * (k % 8));
        }
        float out[16];
        decode_block(planes, static_cast<std::uint8_t>(scale), 0x1p-7f, out);
        for (int k = 0; k < 16; ++k) {
          double sum = value_of(first);
          if (P > 1) sum += value_of(static_cast<std::uint32_t>(k)) / 4;
          if (P > 2) sum += value_of(rest) / 16;
          ASSERT_EQ(static_cast<double>(out[k]), sum * s * 0x1p-7);
          ASSERT_EQ(code_at(planes[0], k), first);
        }
      }
    }
  }
}

TEST(PlaneBlocks, DecodeIsExact) {
  decodes_exactly<1>();
  decodes_exactly<2>();
  decodes_exactly<3>();
}

TEST(PlaneBlocks, CodesAreTheBytesOfTheCodec) {
  std::mt19937 rng(2);
  std::uint8_t bytes[8], back[8];
  for (std::uint8_t& b : bytes) b = static_cast<std::uint8_t>(rng());
  const BlockCodes codes = load_codes(bytes);
  for (int k = 0; k < 16; ++k) EXPECT_EQ(code_at(codes, k), e2m1_at(bytes, k));
  store_codes(codes, back);
  EXPECT_EQ(0, std::memcmp(bytes, back, 8));
}

// What was decoded encodes to the same values whatever is drawn, and an element of a new value lies within
// half a step of the last plane (a whole one when drawn).
template <int P, bool Stochastic>
void keeps_values_and_bounds_errors() {
  std::mt19937 rng(3);
  const double step[3] = {2.0, 0.5, 0.125};  // the greatest step of a plane, in block scales
  for (int round = 0; round < 3000; ++round) {
    const auto scale = static_cast<std::uint8_t>(1 + rng() % 0x7E);
    const float global = std::ldexp(1.0f, static_cast<int>(rng() % 41) - 20);
    const double unit = static_cast<double>(e4m3_decode(scale)) * global;
    std::uniform_real_distribution<float> uniform(-6.0f, 6.0f);
    float x[16], decoded[16], again[16];
    std::uint32_t draws[16];
    BlockCodes planes[P], planes_again[P];
    for (int k = 0; k < 16; ++k) {
      x[k] = static_cast<float>(uniform(rng) * unit);
      draws[k] = static_cast<std::uint32_t>(rng()) & 0xFFFFu;
    }
    encode_block<P, Stochastic>(x, scale, global, draws, planes);
    decode_block(planes, scale, global, decoded);
    for (int k = 0; k < 16; ++k) {
      ASSERT_LE(std::abs(static_cast<double>(decoded[k]) - x[k]),
                step[P - 1] * unit * (Stochastic ? 1.0 : 0.5) * 1.00001);
      draws[k] = static_cast<std::uint32_t>(rng()) & 0xFFFFu;
    }
    encode_block<P, Stochastic>(decoded, scale, global, draws, planes_again);
    decode_block(planes_again, scale, global, again);
    for (int k = 0; k < 16; ++k) ASSERT_EQ(again[k], decoded[k]);
  }
}

TEST(PlaneBlocks, KeepWhatTheyDecodeAndBoundTheError) {
  keeps_values_and_bounds_errors<1, false>();
  keeps_values_and_bounds_errors<1, true>();
  keeps_values_and_bounds_errors<2, false>();
  keeps_values_and_bounds_errors<2, true>();
  keeps_values_and_bounds_errors<3, false>();
  keeps_values_and_bounds_errors<3, true>();
}

// A change far below the last plane's step must happen with its probability: sum over many draws.
TEST(PlaneBlocks, SmallChangesMoveInTheMean) {
  const std::uint8_t scale = 0x38;  // 1
  float x[16], out[16];
  for (int k = 0; k < 16; ++k) x[k] = 0.125f * static_cast<float>(k) + 0.001f;
  double sum = 0;
  constexpr int kRounds = 20000;
  for (int round = 0; round < kRounds; ++round) {
    std::uint32_t draws[16];
    draw_block({7, 8, static_cast<std::uint32_t>(round)}, 0, draws);
    for (std::uint32_t& d : draws) d = draw0(d);
    BlockCodes planes[2];
    encode_block<2, true>(x, scale, 1.0f, draws, planes);
    decode_block(planes, scale, 1.0f, out);
    for (int k = 0; k < 16; ++k) sum += out[k] - 0.125f * static_cast<float>(k);
  }
  EXPECT_NEAR(sum / (16.0 * kRounds), 0.001, 0.0002);
}

TEST(PlaneBlocks, ZeroAndNanScalesGiveZeroCodes) {
  float x[16], out[16];
  std::fill(x, x + 16, 3.0f);
  const std::uint32_t draws[16] = {};
  for (const int scale : {0, 0x7F}) {
    BlockCodes planes[2];
    encode_block<2, false>(x, static_cast<std::uint8_t>(scale), 1.0f, draws, planes);
    for (const BlockCodes& p : planes) EXPECT_TRUE(p.word[0] == 0 && p.word[1] == 0);
    decode_block(planes, static_cast<std::uint8_t>(scale), 1.0f, out);
    for (const float v : out) EXPECT_TRUE(scale == 0 ? v == 0.0f : std::isnan(v));
  }
}

struct Stored {
  std::vector<std::uint8_t> codes, scales, lo, lo2;
  Stored(std::int64_t rows, std::int64_t cols, int count)
      : codes(static_cast<std::size_t>(rows * packed_cols(cols) / 2), 0xC7),
        scales(static_cast<std::size_t>(rows * packed_cols(cols) / 16), 0xC7),
        lo(count > 1 ? codes.size() : 0, 0xC7),
        lo2(count > 2 ? codes.size() : 0, 0xC7) {}
  // Planes from row r on.
  PlanesOut out(std::int64_t r = 0, std::int64_t cols = 0) {
    const std::int64_t c = r * packed_cols(cols) / 2;
    return {codes.data() + c, scales.data() + r * packed_cols(cols) / 16,
            lo.empty() ? nullptr : lo.data() + c, lo2.empty() ? nullptr : lo2.data() + c};
  }
  PlanesView view() const {
    return {codes.data(), scales.data(), lo.empty() ? nullptr : lo.data(),
            lo2.empty() ? nullptr : lo2.data()};
  }
  bool operator==(const Stored&) const = default;
};

class Planes : public test::EveryTarget {};
INSTANTIATE_TEST_SUITE_P(Target, Planes, testing::ValuesIn(test::vector_targets()), test::target_name);

template <class Out>
void expect_same_values(const Stored& s, float decode, PlaneValue value, std::int64_t rows,
                        std::int64_t cols) {
  std::vector<Out> fast(static_cast<std::size_t>(rows * cols + 16)), slow = fast;
  dequantize_planes(s.view(), decode, value, rows, cols, fast.data());
  reference::dequantize_planes(s.view(), decode, value, rows, cols, slow.data());
  ASSERT_EQ(0, std::memcmp(fast.data(), slow.data(), fast.size() * sizeof(Out))) << rows << " x " << cols;
}

TEST_P(Planes, DequantiseMatchesTheReferenceOnAnyBytes) {
  std::mt19937 rng(4);
  for (const int count : {1, 2, 3}) {
    for (const std::int64_t rows : {1, 5, 130}) {
      for (const std::int64_t cols : {1, 16, 17, 250, 528}) {
        Stored s(rows, cols, count);
        for (auto* bytes : {&s.codes, &s.scales, &s.lo, &s.lo2}) {
          for (std::uint8_t& b : *bytes) b = static_cast<std::uint8_t>(rng());
        }
        for (std::size_t i = 0; i < s.scales.size(); ++i) s.scales[i] = i % 3 ? s.scales[i] & 0x7F : 0x7E;
        for (const PlaneValue value : {PlaneValue::folded, PlaneValue::exact}) {
          expect_same_values<Bf16>(s, 0x1p-9f, value, rows, cols);
          expect_same_values<Fp16>(s, 0x1p-9f, value, rows, cols);
          expect_same_values<float>(s, 0x1p-9f, value, rows, cols);
          expect_same_values<float>(s, 0.0123f, value, rows, cols);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

// One plane through this codec decodes as codec.h does; hi + lo, folded, is the bf16 nearest to the sum.
TEST_P(Planes, FoldedIsTheNearestBf16) {
  const std::int64_t rows = 24, cols = 100;
  const auto x = gaussian(static_cast<std::size_t>(rows * cols), 5, 0.02f);
  const GlobalScale g = power_of_two_scale(amax(x.data(), rows, cols, cols).value);
  Stored two(rows, cols, 2);
  EXPECT_EQ(quantize_planes(x.data(), rows, cols, cols, g, {}, two.out()), -1);
  std::vector<Bf16> got(x.size()), plain(x.size()), one(x.size());
  std::vector<float> exact(x.size());
  dequantize_planes(two.view(), g.decode, PlaneValue::folded, rows, cols, got.data());
  dequantize_planes(two.view(), g.decode, PlaneValue::exact, rows, cols, exact.data());
  double error = 0, mass = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    ASSERT_EQ(got[i].bits, to_bf16(exact[i]).bits);
    error += (exact[i] - x[i]) * (exact[i] - x[i]);
    mass += x[i] * x[i];
  }
  EXPECT_LT(error / mass, 3e-4);  // one plane leaves 9e-3
  dequantize_planes({two.codes.data(), two.scales.data()}, g.decode, PlaneValue::folded, rows, cols,
                    one.data());
  dequantize(two.codes.data(), two.scales.data(), g.decode, rows, cols, plain.data());
  EXPECT_EQ(0, std::memcmp(one.data(), plain.data(), one.size() * sizeof(Bf16)));
  EXPECT_THROW(dequantize_planes(two.view(), 0.3f, PlaneValue::folded, rows, cols, got.data()), Error);
}

// The hi plane is what codec.h encodes, but for quotients that the reciprocal rounds across a tie.
TEST(PlaneCodec, HiPlaneIsAnOrdinaryPlane) {
  const std::int64_t rows = 64, cols = 512;
  const auto x = gaussian(static_cast<std::size_t>(rows * cols), 6, 0.02f);
  const GlobalScale g = power_of_two_scale(amax(x.data(), rows, cols, cols).value);
  Stored two(rows, cols, 2), plain(rows, cols, 1);
  quantize_planes(x.data(), rows, cols, cols, g, {}, two.out());
  quantize(x.data(), rows, cols, cols, g, EncodeOptions{}, plain.codes.data(), plain.scales.data());
  EXPECT_EQ(two.scales, plain.scales);
  int different = 0;
  for (std::size_t i = 0; i < plain.codes.size(); ++i) different += two.codes[i] != plain.codes[i];
  EXPECT_LT(different, 8);
}

TEST(PlaneCodec, GatheredRowsAreTheTensorsRows) {
  std::mt19937 rng(21);
  const std::int64_t rows = 29;
  for (const std::int64_t cols : {1, 16, 33, 200}) {
    for (const int count : {1, 2, 3}) {
      std::vector<std::uint8_t> bytes[4];
      for (std::size_t p = 0; p < 4; ++p) {
        bytes[p].resize(static_cast<std::size_t>(rows * packed_cols(cols) / (p == 1 ? 16 : 2)));
        for (auto& b : bytes[p]) b = static_cast<std::uint8_t>(rng() % (p == 1 ? 127 : 256));
      }
      const PlanesView planes{bytes[0].data(), bytes[1].data(), count > 1 ? bytes[2].data() : nullptr,
                              count > 2 ? bytes[3].data() : nullptr};
      const std::vector<std::int64_t> ids = {28, 0, 7, 7, 13};
      const auto n = static_cast<std::int64_t>(ids.size());
      const auto same = [&](auto zero) {
        using T = decltype(zero);
        for (const PlaneValue value : {PlaneValue::exact, PlaneValue::folded}) {
          std::vector<T> whole(static_cast<std::size_t>(rows * cols)),
              some(static_cast<std::size_t>(n * cols));
          reference::dequantize_planes(planes, 0.5f, value, rows, cols, whole.data());
          gather_planes(planes, 0.5f, value, rows, cols, ids.data(), n, some.data());
          for (std::int64_t i = 0; i < n; ++i)
            ASSERT_EQ(
                0, std::memcmp(some.data() + i * cols, whole.data() + ids[static_cast<std::size_t>(i)] * cols,
                               static_cast<std::size_t>(cols) * sizeof(T)));
        }
      };
      same(0.0f);
      same(Bf16{});
      same(Fp16{});
      for (const std::int64_t bad : {std::int64_t{-1}, rows}) {
        std::vector<float> out(static_cast<std::size_t>(2 * cols), 7.0f);
        const std::int64_t wrong[] = {0, bad};
        EXPECT_THROW(gather_planes(planes, 1.0f, PlaneValue::exact, rows, cols, wrong, 2, out.data()), Error);
        EXPECT_EQ(out, std::vector<float>(static_cast<std::size_t>(2 * cols), 7.0f));
      }
    }
  }
}

TEST(PlaneCodec, RowsMayBeSplitAnywhere) {
  const std::int64_t rows = 37, cols = 90, stride = 95;
  const auto wide = gaussian(static_cast<std::size_t>(rows * stride), 8, 1.0f);
  const GlobalScale g = power_of_two_scale(6.0f);
  for (const int count : {1, 2, 3}) {
    LastPlane last{true, {99, tensor_key("w"), 4}, 0};
    Stored whole(rows, cols, count), parts(rows, cols, count), other(rows, cols, count);
    quantize_planes(wide.data(), rows, cols, stride, g, last, whole.out());
    for (std::int64_t r = 0; r < rows;) {
      const std::int64_t n = std::min<std::int64_t>(1 + r % 7, rows - r);
      last.first_row = r;
      quantize_planes(wide.data() + r * stride, n, cols, stride, g, last, parts.out(r, cols));
      r += n;
    }
    EXPECT_TRUE(whole == parts);
    last.first_row = 0;
    last.draws.step = 5;
    quantize_planes(wide.data(), rows, cols, stride, g, last, other.out());
    EXPECT_FALSE(whole == other);
    EXPECT_EQ(whole.scales, other.scales);
    EXPECT_EQ(whole.codes == other.codes, count > 1);  // only the last plane is drawn
  }
}

TEST(PlaneCodec, NonFiniteBlocksAreMarkedAndReported) {
  auto x = gaussian(3 * 40, 9, 1.0f);
  x[1 * 40 + 33] = std::numeric_limits<float>::quiet_NaN();
  x[2 * 40 + 2] = -std::numeric_limits<float>::infinity();
  Stored s(3, 40, 2);
  EXPECT_EQ(quantize_planes(x.data(), 3, 40, 40, power_of_two_scale(4.0f), {}, s.out()), 1 * 40 + 33);
  EXPECT_EQ(s.scales[1 * 3 + 2], 0x7F);
  EXPECT_EQ(s.scales[2 * 3 + 0], 0x7F);
  std::vector<float> out(x.size());
  dequantize_planes(s.view(), 1.0f, PlaneValue::folded, 3, 40, out.data());
  EXPECT_TRUE(std::isnan(out[1 * 40 + 39]) && std::isnan(out[2 * 40]) && !std::isnan(out[1 * 40 + 31]));
}

}  // namespace
}  // namespace tetrad::nvfp4

// What training products read: transposes against copies that were transposed by hand, the transform against
// its matrix in double, stochastic rounding in the mean, four_or_six against an exhaustive look, and the
// refusals.
#include <gtest/gtest.h>
#include <tetrad/base/error.h>
#include <tetrad/nvfp4/block_encode.h>
#include <tetrad/nvfp4/operand_codec.h>
#include <tetrad/nvfp4/reference.h>

#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "support/gaussian.h"

namespace tetrad::nvfp4 {
namespace {

using test::gaussian;
using test::narrow;

using Bytes = std::vector<std::uint8_t>;

struct Encoded {
  Bytes codes, scales;
  std::int64_t first_bad = -1;
  Encoded(std::int64_t rows, std::int64_t cols)
      : codes(static_cast<std::size_t>(rows * packed_cols(cols) / 2 + 8), 0xC7),
        scales(static_cast<std::size_t>(rows * packed_cols(cols) / 16 + 8), 0xC7) {}
  bool operator==(const Encoded&) const = default;
};

template <class T>
Encoded operand(const std::vector<T>& x, std::int64_t rows, std::int64_t cols, std::int64_t stride, Operand o,
                GlobalScale g, const EncodeOptions& options) {
  Encoded e(o.transposed ? cols : rows, o.transposed ? rows : cols);
  e.first_bad =
      quantize_operand(x.data(), rows, cols, stride, o, g, options, e.codes.data(), e.scales.data());
  return e;
}

std::vector<float> decoded(const Encoded& e, float decode, std::int64_t rows, std::int64_t cols) {
  std::vector<float> out(static_cast<std::size_t>(rows * cols));
  reference::dequantize(e.codes.data(), e.scales.data(), decode, rows, cols, out.data());
  return out;
}

EncodeOptions with(BlockTarget target, Rounding rounding, std::uint32_t step = 0) {
  EncodeOptions o;
  o.target = target;
  o.rounding = rounding;
  o.draws = {77, tensor_key("dy"), step};
  return o;
}

// As it stands and plain: the ordinary codec. Transposed: the ordinary one on a transposed copy, whatever the
// options.
template <class T>
void check_transpose(std::int64_t rows, std::int64_t cols, unsigned seed) {
  const std::int64_t stride = cols + 3;
  const std::vector<T> x = narrow<T>(gaussian(rows * stride, seed));
  std::vector<T> copy(static_cast<std::size_t>(rows * cols));
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < cols; ++c)
      copy[static_cast<std::size_t>(c * rows + r)] = x[static_cast<std::size_t>(r * stride + c)];
  }
  const Amax greatest = operand_amax(x.data(), rows, cols, stride, {});
  ASSERT_EQ(greatest.value, reference::amax(x.data(), rows, cols, stride).value);
  ASSERT_EQ(greatest.value, operand_amax(x.data(), rows, cols, stride, {true, false}).value);
  for (const BlockTarget target : {BlockTarget::six, BlockTarget::four_or_six}) {
    for (const Rounding rounding : {Rounding::nearest, Rounding::stochastic}) {
      const EncodeOptions o = with(target, rounding);
      const GlobalScale g = global_scale(greatest.value, o);
      Encoded plain(rows, cols), turned(cols, rows);
      plain.first_bad =
          reference::quantize(x.data(), rows, cols, stride, g, o, plain.codes.data(), plain.scales.data());
      ASSERT_TRUE(operand(x, rows, cols, stride, {}, g, o) == plain);
      turned.first_bad =
          reference::quantize(copy.data(), cols, rows, rows, g, o, turned.codes.data(), turned.scales.data());
      ASSERT_TRUE(operand(x, rows, cols, stride, {true, false}, g, o) == turned);
    }
  }
}

TEST(OperandCodec, TransposesAndAgreesWithTheCodec) {
  unsigned seed = 0;
  for (const std::int64_t rows : {1, 16, 33, 70}) {
    for (const std::int64_t cols : {1, 17, 48, 130}) {
      check_transpose<float>(rows, cols, ++seed);
      check_transpose<Bf16>(rows, cols, ++seed);
      check_transpose<Fp16>(rows, cols, ++seed);
      if (HasFatalFailure()) return;
    }
  }
}

// Sylvester's matrix: entry (i, j) is minus where i & j has an odd number of ones.
double rotated(const float (&v)[16], int j) {
  static constexpr char signs[] = "+++-+------+-+--";
  double sum = 0;
  for (int i = 0; i < 16; ++i) {
    const bool minus = (std::popcount(static_cast<unsigned>(i & j)) & 1) != (signs[i] == '-' ? 1 : 0);
    sum += minus ? -static_cast<double>(v[i]) : static_cast<double>(v[i]);
  }
  return sum / 4;
}

TEST(Rotation, IsTheHadamardMatrixRoundedOnce) {
  std::mt19937 rng(5);
  for (int round = 0; round < 2000; ++round) {
    float v[16], out[16];
    for (float& x : v) x = static_cast<float>(static_cast<int>(rng() % 513) - 256) / 64.0f;  // sums are exact
    std::copy(v, v + 16, out);
    rotate16(out);
    for (int j = 0; j < 16; ++j) ASSERT_EQ(out[j], folded(static_cast<float>(rotated(v, j)))) << j;
  }
}

TEST(Rotation, KeepsProductsAndSpreadsOutliers) {
  const std::int64_t k = 64;
  std::vector<float> a = gaussian(k, 1, 1.0f), b = gaussian(k, 2, 1.0f);
  a[5] = 40.0f;
  double plain = 0, turned = 0;
  float greatest = 0;
  for (std::int64_t i = 0; i < k; i += 16) {
    float x[16], y[16];
    std::copy_n(a.data() + i, 16, x);
    std::copy_n(b.data() + i, 16, y);
    for (int j = 0; j < 16; ++j) plain += static_cast<double>(x[j]) * y[j];
    rotate16(x);
    rotate16(y);
    for (int j = 0; j < 16; ++j) {
      turned += static_cast<double>(x[j]) * y[j];
      greatest = std::max(greatest, std::abs(x[j]));
    }
  }
  EXPECT_NEAR(turned, plain, 0.03 * std::abs(plain) + 0.5);
  EXPECT_LT(greatest, 20.0f);
}

TEST(OperandCodec, RotatesBeforeItEncodes) {
  const std::int64_t rows = 32, cols = 48;
  const auto x = narrow<Bf16>(gaussian(rows * cols, 3, 1.0f));
  for (const bool transposed : {false, true}) {
    const std::int64_t m_rows = transposed ? cols : rows, m_cols = transposed ? rows : cols;
    std::vector<float> m(static_cast<std::size_t>(m_rows * m_cols));
    for (std::int64_t r = 0; r < m_rows; ++r) {
      for (std::int64_t c = 0; c < m_cols; c += 16) {
        float v[16];
        for (std::int64_t i = 0; i < 16; ++i)
          v[i] = to_float(x[static_cast<std::size_t>(transposed ? (c + i) * cols + r : r * cols + c + i)]);
        rotate16(v);
        std::copy(v, v + 16, m.data() + r * m_cols + c);
      }
    }
    const Amax greatest = operand_amax(x.data(), rows, cols, cols, {transposed, true});
    ASSERT_EQ(greatest.value, reference::amax(m.data(), m_rows, m_cols, m_cols).value);
    const EncodeOptions o;
    const GlobalScale g = global_scale(greatest.value, o);
    Encoded expected(m_rows, m_cols);
    reference::quantize(m.data(), m_rows, m_cols, m_cols, g, o, expected.codes.data(),
                        expected.scales.data());
    EXPECT_TRUE(operand(x, rows, cols, cols, {transposed, true}, g, o) == expected);
  }
}

// The mean over many steps is the value, where the block's maximum does not clip.
TEST(OperandCodec, StochasticRoundingIsUnbiased) {
  const std::int64_t rows = 4, cols = 64;
  const auto x = gaussian(rows * cols, 4, 1.0f);
  GlobalScale g = power_of_two_scale(8.0f);
  std::vector<double> mean(x.size());
  constexpr int kSteps = 4000;
  Encoded nearest = operand(x, rows, cols, cols, {}, g, with(BlockTarget::six, Rounding::nearest));
  for (std::uint32_t step = 0; step < kSteps; ++step) {
    const Encoded e = operand(x, rows, cols, cols, {}, g, with(BlockTarget::six, Rounding::stochastic, step));
    ASSERT_EQ(e.scales, nearest.scales);
    const auto values = decoded(e, g.decode, rows, cols);
    for (std::size_t i = 0; i < mean.size(); ++i) mean[i] += values[i] / kSteps;
  }
  for (std::size_t i = 0; i < mean.size(); ++i) {
    const float unit = e4m3_decode(nearest.scales[i / 16]) * g.decode;
    if (std::abs(x[i]) > 6 * unit) continue;
    EXPECT_NEAR(mean[i], x[i], 5 * unit / std::sqrt(kSteps)) << i;  // a step is at most 2 units: sigma <= 1
  }
}

// Each block's error is the smaller one of the two scales', and over a tensor it is well below six's alone.
TEST(OperandCodec, FourOrSixTakesTheSmallerError) {
  const std::int64_t rows = 64, cols = 256;
  const auto x = gaussian(rows * cols, 6, 1.0f);
  const EncodeOptions o = with(BlockTarget::four_or_six, Rounding::nearest);
  const GlobalScale g = global_scale(reference::amax(x.data(), rows, cols, cols).value, o);
  EXPECT_LE(reference::amax(x.data(), rows, cols, cols).value, g.decode * 1536.0f);
  const Encoded e = operand(x, rows, cols, cols, {}, g, o);
  int fours = 0;
  double both = 0, six = 0;
  for (std::size_t b = 0; b < x.size() / 16; ++b) {
    float values[16];
    std::copy_n(x.data() + b * 16, 16, values);
    const float greatest = bits_float(block_amax(values));
    const std::uint8_t at_six = e4m3_encode(greatest / 6.0f * g.encode);
    const std::uint8_t at_four = e4m3_encode(greatest / 6.0f * g.encode * 1.5f);
    double errors[2];
    for (int i = 0; i < 2; ++i) {
      const double unit = static_cast<double>(e4m3_decode(i == 0 ? at_six : at_four)) * g.decode;
      errors[i] = 0;
      for (const float v : values)
        errors[i] += std::abs(v - e2m1_decode(e2m1_encode(static_cast<float>(v / unit))) * unit);
    }
    six += errors[0];
    both += std::min(errors[0], errors[1]);
    if (std::abs(errors[0] - errors[1]) < 1e-5 * errors[0]) continue;
    ASSERT_EQ(e.scales[b], errors[1] < errors[0] ? at_four : at_six) << b;
    fours += errors[1] < errors[0] ? 1 : 0;
  }
  EXPECT_GT(fours, 100);
  EXPECT_LT(both, 0.95 * six);
  // In 16 x 16 tiles the choice is the tile's.
  EncodeOptions tiles = o;
  tiles.block = BlockShape::tile16x16;
  Encoded t(rows, cols);
  reference::quantize(x.data(), rows, cols, cols, g, tiles, t.codes.data(), t.scales.data());
  for (std::size_t r = 0; r < 64; ++r) {
    for (std::size_t b = 0; b < 16; ++b) ASSERT_EQ(t.scales[r * 16 + b], t.scales[r / 16 * 256 + b]);
  }
}

TEST(OperandCodec, MarksAndReportsNonFinite) {
  auto x = gaussian(32 * 48, 7);
  x[3 * 48 + 20] = std::numeric_limits<float>::quiet_NaN();
  for (const bool rotate : {false, true}) {
    const Encoded e = operand(x, 32, 48, 48, {true, rotate}, power_of_two_scale(1.0f), {});
    EXPECT_EQ(e.first_bad, 3 * 48 + 20);
    EXPECT_EQ(e.scales[20 * 2 + 0], 0x7F);
    EXPECT_NE(e.scales[20 * 2 + 1], 0x7F);
    EXPECT_EQ(operand_amax(x.data(), 32, 48, 48, {true, rotate}).first_bad, 3 * 48 + 20);
  }
}

TEST(OperandCodec, RefusesWhatItDoesNotHave) {
  const auto x = gaussian(32 * 20, 8);
  Bytes codes(4096), scales(4096);
  EncodeOptions other;
  other.profile = Profile::modelopt;
  EXPECT_THROW(operand(x, 32, 20, 20, {}, {}, other), Error);
  other.rounding = Rounding::stochastic;
  EXPECT_THROW(reference::quantize(x.data(), 32, 20, 20, {}, other, codes.data(), scales.data()), Error);
  EncodeOptions tile;
  tile.block = BlockShape::tile16x16;
  EXPECT_THROW(operand(x, 32, 20, 20, {}, {}, tile), Error);
  EXPECT_THROW(operand(x, 32, 20, 20, {false, true}, {}, {}), Error);
  EXPECT_THROW(operand_amax(x.data(), 32, 20, 20, {false, true}), Error);
  EXPECT_NO_THROW(operand(x, 32, 20, 20, {true, true}, {}, {}));
}

}  // namespace
}  // namespace tetrad::nvfp4

// The fast codec against the reference, bit for bit, and the reference against properties that the format
// promises.
#include <gtest/gtest.h>
#include <tetrad/base/error.h>
#include <tetrad/nvfp4/packed_tensor.h>
#include <tetrad/nvfp4/reference.h>

#include <algorithm>
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
using test::narrow;

constexpr std::uint8_t kGuard = 0xC7;  // bytes beyond the outputs that nobody may touch

struct Packed {
  std::vector<std::uint8_t> codes, scales;
  std::int64_t first_bad = -1;
  bool operator==(const Packed&) const = default;
};

template <class T, class Quantize>
Packed run(Quantize f, const T* x, std::int64_t rows, std::int64_t cols, std::int64_t stride, GlobalScale g,
           const EncodeOptions& o) {
  Packed p;
  p.codes.assign(static_cast<std::size_t>(rows * packed_cols(cols) / 2 + 64), kGuard);
  p.scales.assign(static_cast<std::size_t>(rows * packed_cols(cols) / 16 + 64), kGuard);
  p.first_bad = f(x, rows, cols, stride, g, o, p.codes.data(), p.scales.data());
  return p;
}

template <class T>
void expect_same(const std::vector<T>& x, std::int64_t rows, std::int64_t cols, std::int64_t stride,
                 float amax_value, const EncodeOptions& o) {
  const GlobalScale g = global_scale(amax_value, o);
  const Packed fast = run<T>(quantize<T>, x.data(), rows, cols, stride, g, o);
  const Packed slow = run<T>(reference::quantize<T>, x.data(), rows, cols, stride, g, o);
  ASSERT_EQ(fast.first_bad, slow.first_bad);
  ASSERT_EQ(fast.scales, slow.scales) << rows << " x " << cols;
  ASSERT_EQ(fast.codes, slow.codes) << rows << " x " << cols;

  const auto compare = [&](auto zero, float decode) {
    using Out = decltype(zero);
    std::vector<Out> a(static_cast<std::size_t>(rows * cols + 16)), b = a;
    dequantize<Out>(fast.codes.data(), fast.scales.data(), decode, rows, cols, a.data());
    reference::dequantize<Out>(fast.codes.data(), fast.scales.data(), decode, rows, cols, b.data());
    ASSERT_EQ(0, std::memcmp(a.data(), b.data(), a.size() * sizeof(Out)));
  };
  compare(0.0f, g.decode);
  compare(Bf16{}, 1.0f);
  compare(Fp16{}, 1.0f);
  if (is_power_of_two(g.decode)) compare(Bf16{}, g.decode);
}

const EncodeOptions kAll[] = {
    {Profile::te, GlobalRule::power_of_two, BlockShape::row16},
    {Profile::te, GlobalRule::exact, BlockShape::row16},
    {Profile::te, GlobalRule::power_of_two, BlockShape::tile16x16},
    {Profile::te, GlobalRule::exact, BlockShape::tile16x16},
    {Profile::torchao_inference, GlobalRule::exact, BlockShape::row16},
    {Profile::modelopt, GlobalRule::exact, BlockShape::row16},
    {Profile::compressed_tensors, GlobalRule::exact, BlockShape::row16},
};

// Every vector target that this machine can run, one after the other.
class Codec : public test::EveryTarget {};

INSTANTIATE_TEST_SUITE_P(Target, Codec, testing::ValuesIn(test::vector_targets()), test::target_name);

using NonFinite = Codec;
INSTANTIATE_TEST_SUITE_P(Target, NonFinite, testing::ValuesIn(test::vector_targets()), test::target_name);

TEST_P(Codec, MatchesTheReferenceOnOddShapes) {
  unsigned seed = 0;
  for (const EncodeOptions& o : kAll) {
    for (const std::int64_t rows : {1, 3, 16, 17, 35}) {
      for (const std::int64_t cols : {1, 15, 16, 17, 48, 500, 512, 528, 1027}) {
        const std::int64_t stride = cols + (rows % 2 != 0 ? 5 : 0);
        const auto x = gaussian(static_cast<std::size_t>(rows * stride), ++seed, 0.02f);
        const auto h = narrow<Bf16>(x);
        const auto f = narrow<Fp16>(x);
        expect_same(x, rows, cols, stride, amax(x.data(), rows, cols, stride).value, o);
        expect_same(h, rows, cols, stride, amax(h.data(), rows, cols, stride).value, o);
        expect_same(f, rows, cols, stride, amax(f.data(), rows, cols, stride).value, o);
        if (HasFatalFailure()) return;
      }
    }
  }
}

// All 65,536 bf16 patterns, in order (neighbours share a block) and with an outlier per block, non-finite
// ones included.
TEST_P(Codec, MatchesTheReferenceOnEveryBf16) {
  for (const EncodeOptions& o : kAll) {
    for (const float amax_value : {1.0f, 0.7f, 1e-6f, 3e38f}) {
      std::vector<Bf16> x(65536);
      for (unsigned i = 0; i < 65536; ++i) x[i].bits = static_cast<std::uint16_t>(i);
      expect_same(x, 64, 1024, 1024, amax_value, o);
      for (unsigned i = 0; i < 65536; i += 16) x[i] = to_bf16(amax_value);
      expect_same(x, 64, 1024, 1024, amax_value, o);
      if (HasFatalFailure()) return;
    }
  }
}

// Blocks whose elements sit on ties and their float neighbours for every block scale, subnormal and saturated
// included.
TEST_P(Codec, MatchesTheReferenceOnTies) {
  const float ties[] = {0.25f, 0.75f, 1.25f, 1.75f, 2.5f, 3.5f, 5.0f};
  std::vector<float> x;
  std::mt19937 rng(7);
  for (int code = 1; code < 0x7F; ++code) {
    const float s = e4m3_decode(static_cast<std::uint8_t>(code));
    for (int repeat = 0; repeat < 4; ++repeat) {
      x.push_back(6.0f * s);
      for (int i = 1; i < 16; ++i) {
        float v = ties[rng() % 7] * s;
        const unsigned kind = rng() % 3;
        if (kind == 1) v = std::nextafter(v, 0.0f);
        if (kind == 2) v = std::nextafter(v, 1e9f);
        x.push_back(rng() % 2 != 0 ? v : -v);
      }
    }
  }
  for (const EncodeOptions& o : kAll) {
    const auto cols = static_cast<std::int64_t>(x.size());
    expect_same(x, 1, cols, cols, 2688.0f, o);
    expect_same(narrow<Bf16>(x), 1, cols, cols, 2688.0f, o);
    expect_same(narrow<Bf16>(x), 1, cols, cols, 1999.0f, o);
    if (HasFatalFailure()) return;
  }
}

TEST_P(Codec, MatchesTheReferenceAcrossTheExponentRange) {
  std::mt19937 rng(11);
  std::vector<float> x(16 * 4096);
  for (const EncodeOptions& o : kAll) {
    for (const float amax_value : {1e-38f, 1e-20f, 1.0f, 1e20f, kFloatMax}) {
      for (std::size_t i = 0; i < x.size(); ++i) {
        float v;
        do {
          v = bits_float(static_cast<std::uint32_t>(rng()));
        } while (!std::isfinite(v));
        x[i] = v;
      }
      expect_same(x, 16, 4096, 4096, amax_value, o);
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(Codec, RowRangesGiveWhatTheWholeGives) {
  const std::int64_t rows = 50, cols = 200;
  const auto x = narrow<Bf16>(gaussian(static_cast<std::size_t>(rows * cols), 5, 1.0f));
  for (const BlockShape block : {BlockShape::row16, BlockShape::tile16x16}) {
    const EncodeOptions o{Profile::te, GlobalRule::power_of_two, block};
    const GlobalScale g = global_scale(4.0f, o);
    const Packed whole = run<Bf16>(quantize<Bf16>, x.data(), rows, cols, cols, g, o);
    Packed parts = whole;
    std::fill(parts.codes.begin(), parts.codes.end() - 64, std::uint8_t{0});
    const std::int64_t pc = packed_cols(cols);
    for (std::int64_t r = 0; r < rows; r += 16) {
      quantize(x.data() + r * cols, std::min<std::int64_t>(16, rows - r), cols, cols, g, o,
               parts.codes.data() + r * pc / 2, parts.scales.data() + r * pc / 16);
    }
    EXPECT_EQ(whole, parts);
  }
}

TEST_P(Codec, HiWeightsAreExactInBf16UnderThePowerOfTwoScale) {
  for (const float sigma : {1e-30f, 1e-4f, 0.02f, 3.0f, 1e30f}) {
    const std::int64_t rows = 32, cols = 256;
    const auto x = gaussian(static_cast<std::size_t>(rows * cols), 9, sigma);
    const PackedTensor p = encode(x.data(), rows, cols, cols);
    std::vector<float> wide(x.size());
    std::vector<Bf16> half(x.size());
    dequantize(p.codes.data(), p.scales.data(), p.global.decode, rows, cols, wide.data());
    dequantize(p.codes.data(), p.scales.data(), p.global.decode, rows, cols, half.data());
    double error = 0, norm = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      ASSERT_EQ(wide[i], to_float(half[i]));
      error += std::pow(static_cast<double>(wide[i]) - x[i], 2);
      norm += std::pow(static_cast<double>(x[i]), 2);
    }
    EXPECT_LT(error / norm, 0.0105);  // Gaussian: 0.0090
    EXPECT_GT(error / norm, 0.0075);
  }
}

TEST_P(Codec, UnscaledIsExactIn16Bits) {
  std::vector<std::uint8_t> codes, scales;
  for (int s = 0; s < 0x7F; ++s) {
    scales.push_back(static_cast<std::uint8_t>(s));
    for (int i = 0; i < 8; ++i) codes.push_back(static_cast<std::uint8_t>((2 * i) | ((2 * i + 1) << 4)));
  }
  const auto cols = static_cast<std::int64_t>(scales.size() * 16);
  std::vector<float> w(static_cast<std::size_t>(cols));
  std::vector<Bf16> b(w.size());
  std::vector<Fp16> f(w.size());
  dequantize_unscaled(codes.data(), scales.data(), 1, cols, w.data());
  dequantize_unscaled(codes.data(), scales.data(), 1, cols, b.data());
  dequantize_unscaled(codes.data(), scales.data(), 1, cols, f.data());
  for (std::size_t i = 0; i < w.size(); ++i) {
    ASSERT_EQ(float_bits(w[i]), float_bits(e2m1_decode(i % 16) * e4m3_decode(scales[i / 16])));
    ASSERT_EQ(float_bits(w[i]), float_bits(to_float(b[i])));
    ASSERT_EQ(float_bits(w[i]), float_bits(to_float(f[i])));
  }
}

TEST_P(Codec, ASixteenBitOutputRefusesAForeignScale) {
  const std::uint8_t codes[8] = {}, scales[1] = {0x38};
  Bf16 half[16];
  float wide[16];
  EXPECT_THROW(dequantize(codes, scales, 0.3f, 1, 16, half), Error);
  EXPECT_THROW(dequantize(codes, scales, 0.0f, 1, 16, half), Error);
  EXPECT_THROW(reference::dequantize(codes, scales, 0.3f, 1, 16, half), Error);
  EXPECT_NO_THROW(dequantize(codes, scales, 0.3f, 1, 16, wide));
  EXPECT_NO_THROW(dequantize(codes, scales, 0.25f, 1, 16, half));
}

TEST_P(NonFinite, IsFoundReportedAndMarked) {
  const std::int64_t rows = 20, cols = 100, stride = 103;
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                          -std::numeric_limits<float>::infinity()}) {
    for (const BlockShape block : {BlockShape::row16, BlockShape::tile16x16}) {
      for (const std::int64_t row : {0, 7, 19}) {
        for (const std::int64_t col : {0, 33, 97, 99}) {
          auto x = gaussian(static_cast<std::size_t>(rows * stride), 3, 1.0f);
          x[static_cast<std::size_t>(row * stride + col)] = bad;
          x[static_cast<std::size_t>(19 * stride + 99)] = bad;
          const Amax a = amax(x.data(), rows, cols, stride);
          EXPECT_EQ(a.first_bad, row * cols + col);
          EXPECT_TRUE(std::isfinite(a.value) && a.value > 2.0f);
          const EncodeOptions o{Profile::te, GlobalRule::power_of_two, block};
          expect_same(x, rows, cols, stride, a.value, o);
          const Packed p =
              run<float>(quantize<float>, x.data(), rows, cols, stride, global_scale(a.value, o), o);
          EXPECT_EQ(p.first_bad, row * cols + col);
          EXPECT_EQ(p.scales[static_cast<std::size_t>(row * 7 + col / 16)], kE4m3Nan);
          std::vector<Bf16> out(static_cast<std::size_t>(rows * cols));
          dequantize(p.codes.data(), p.scales.data(), 1.0f, rows, cols, out.data());
          EXPECT_EQ(out[static_cast<std::size_t>(row * cols + col)].bits, 0x7FC0);
          EXPECT_THROW(encode(x.data(), rows, cols, stride, o), Error);
        }
      }
    }
  }
}

TEST_P(NonFinite, PaddingBetweenRowsIsNotLookedAt) {
  std::vector<float> x(3 * 40, std::numeric_limits<float>::quiet_NaN());
  for (int r = 0; r < 3; ++r) {
    for (int c = 0; c < 33; ++c) x[static_cast<std::size_t>(r) * 40 + static_cast<std::size_t>(c)] = 1.0f;
  }
  EXPECT_EQ(amax(x.data(), 3, 33, 40).first_bad, -1);
  expect_same(x, 3, 33, 40, 1.0f, {});
}

}  // namespace
}  // namespace tetrad::nvfp4

// Element formats against definitions that share no code with the implementation: tables written out by hand,
// a search for the nearest code in double, and the compiler's own half type.
#include <gtest/gtest.h>
#include <tetrad/nvfp4/e2m1.h>
#include <tetrad/nvfp4/e4m3.h>
#include <tetrad/nvfp4/half.h>
#include <tetrad/nvfp4/profile.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace tetrad::nvfp4 {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
const float kE2m1[8] = {0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 3.0f, 4.0f, 6.0f};

double e4m3_value(int code) {  // code 0..0x7E
  const int exponent = code >> 3;
  const int mantissa = code & 7;
  return exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 10);
}

// Nearest of `count` ascending values, ties to the even index, saturating; in double, so that midpoints are
// exact.
template <class Value>
int nearest(double a, int count, Value value) {
  a = std::min(a, 1e6);  // beyond that doubles cannot tell the gaps apart, and everything saturates
  int best = 0;
  for (int i = 1; i < count; ++i) {
    const double gap_i = std::abs(a - value(i));
    const double gap_best = std::abs(a - value(best));
    if (gap_i < gap_best || (gap_i == gap_best && i % 2 == 0)) best = i;
  }
  return best;
}

int nearest_e2m1(float x) {
  return nearest(std::abs(x), 8, [](int i) { return static_cast<double>(kE2m1[i]); }) |
         (std::signbit(x) ? 8 : 0);
}

int nearest_e4m3(float x) {
  return nearest(std::abs(x), 0x7F, e4m3_value) | (std::signbit(x) ? 0x80 : 0);
}

// Every value of interest around v: itself, its float neighbours, and its bf16 neighbours.
std::vector<float> around(float v) {
  std::vector<float> out = {v, std::nextafter(v, kInf), std::nextafter(v, -kInf)};
  const std::uint32_t top = float_bits(v) & 0xFFFF0000u;
  out.push_back(bits_float(top + 0x10000u));
  if (top >= 0x10000u) out.push_back(bits_float(top - 0x10000u));
  const std::size_t n = out.size();
  for (std::size_t i = 0; i < n; ++i) out.push_back(-out[i]);
  return out;
}

TEST(E2m1, DecodesAllCodes) {
  for (unsigned code = 0; code < 16; ++code) {
    const float expected = (code & 8) != 0 ? -kE2m1[code & 7] : kE2m1[code & 7];
    EXPECT_EQ(float_bits(e2m1_decode(code)), float_bits(expected)) << code;
    EXPECT_EQ(e2m1_encode(expected), code);
  }
}

TEST(E2m1, TiesGoToTheEvenCode) {
  const struct {
    float x;
    int code;
  } ties[] = {{.25f, 0}, {.75f, 2}, {1.25f, 2}, {1.75f, 4}, {2.5f, 4}, {3.5f, 6}, {5.0f, 6}};
  for (const auto& tie : ties) {
    EXPECT_EQ(e2m1_encode(tie.x), tie.code) << tie.x;
    EXPECT_EQ(e2m1_encode(-tie.x), tie.code | 8) << tie.x;
    EXPECT_EQ(e2m1_encode(std::nextafter(tie.x, 0.0f)), nearest_e2m1(std::nextafter(tie.x, 0.0f)));
    EXPECT_EQ(e2m1_encode(std::nextafter(tie.x, 9.0f)), nearest_e2m1(std::nextafter(tie.x, 9.0f)));
  }
}

TEST(E2m1, SaturatesAndMapsSpecials) {
  EXPECT_EQ(e2m1_encode(kInf), 7);
  EXPECT_EQ(e2m1_encode(-kInf), 15);
  EXPECT_EQ(e2m1_encode(std::numeric_limits<float>::max()), 7);
  EXPECT_EQ(e2m1_encode(std::nextafter(6.0f, 7.0f)), 7);
  EXPECT_EQ(e2m1_encode(bits_float(kFloatNan)), 7);
  EXPECT_EQ(e2m1_encode(bits_float(0xFFC00001u)), 7);
  EXPECT_EQ(e2m1_encode(0.0f), 0);
  EXPECT_EQ(e2m1_encode(-0.0f), 8);
  EXPECT_EQ(e2m1_encode(std::numeric_limits<float>::denorm_min()), 0);
}

TEST(E2m1, EveryBf16AndRandomFloatsRoundToNearest) {
  for (unsigned bits = 0; bits < 0x10000u; ++bits) {
    const float x = to_float(Bf16{static_cast<std::uint16_t>(bits)});
    if (std::isnan(x)) continue;
    ASSERT_EQ(e2m1_encode(x), std::isinf(x) ? (x > 0 ? 7 : 15) : nearest_e2m1(x)) << x;
  }
  std::mt19937 rng(1);
  std::uniform_real_distribution<float> uniform(-7.0f, 7.0f);
  for (int i = 0; i < 200000; ++i) {
    const float x = uniform(rng);
    ASSERT_EQ(e2m1_encode(x), nearest_e2m1(x)) << x;
  }
}

TEST(E2m1, PacksTheEvenElementLow) {
  const std::uint8_t byte = e2m1_pack(0x3, 0xA);
  EXPECT_EQ(byte, 0xA3);
  EXPECT_EQ(e2m1_at(&byte, 0), 0x3u);
  EXPECT_EQ(e2m1_at(&byte, 1), 0xAu);
}

TEST(E4m3, DecodesAllCodesAndRoundTrips) {
  for (int code = 0; code < 256; ++code) {
    const float value = e4m3_decode(static_cast<std::uint8_t>(code));
    if ((code & 0x7F) == 0x7F) {
      EXPECT_TRUE(std::isnan(value)) << code;
      EXPECT_EQ(e4m3_encode(value), kE4m3Nan);
      continue;
    }
    EXPECT_EQ(std::abs(value), e4m3_value(code & 0x7F)) << code;
    EXPECT_EQ(std::signbit(value), code >= 0x80);
    EXPECT_EQ(e4m3_encode(value), code);
  }
  EXPECT_EQ(e4m3_decode(0x7E), 448.0f);
  EXPECT_EQ(e4m3_decode(0x08), 0.015625f);
  EXPECT_EQ(e4m3_decode(0x01), 0.001953125f);
}

TEST(E4m3, EveryTieAndItsNeighbours) {
  for (int code = 0; code < 0x7E; ++code) {
    const float tie = static_cast<float>((e4m3_value(code) + e4m3_value(code + 1)) / 2);
    EXPECT_EQ(e4m3_encode(tie), (code + 1) & ~1) << code;  // the even one of code and code + 1
    for (const float x : around(tie)) ASSERT_EQ(e4m3_encode(x), nearest_e4m3(x)) << x;
    for (const float x : around(static_cast<float>(e4m3_value(code)))) {
      if (std::isnan(x)) continue;
      ASSERT_EQ(e4m3_encode(x), nearest_e4m3(x)) << x;
    }
  }
}

TEST(E4m3, EveryBf16) {
  for (unsigned bits = 0; bits < 0x10000u; ++bits) {
    const float x = to_float(Bf16{static_cast<std::uint16_t>(bits)});
    if (std::isnan(x)) {
      EXPECT_EQ(e4m3_encode(x), kE4m3Nan);
    } else {
      ASSERT_EQ(e4m3_encode(x), nearest_e4m3(std::isinf(x) ? std::copysign(1e6f, x) : x)) << x;
    }
  }
  EXPECT_EQ(e4m3_encode(449.0f), 0x7E);
  EXPECT_EQ(e4m3_encode(1e30f), 0x7E);
  EXPECT_EQ(e4m3_encode(kInf), 0x7E);
  EXPECT_EQ(e4m3_encode(-kInf), 0xFE);
}

TEST(Bf16, RoundsToNearestEven) {
  for (unsigned bits = 0; bits < 0x10000u; ++bits) {
    const Bf16 h{static_cast<std::uint16_t>(bits)};
    const float x = to_float(h);
    EXPECT_EQ(float_bits(x), bits << 16);
    if (std::isnan(x)) {
      EXPECT_EQ(to_bf16(x).bits, 0x7FC0);
      continue;
    }
    ASSERT_EQ(to_bf16(x).bits, bits);
    if (std::isinf(x)) continue;
    const std::uint32_t u = float_bits(x);
    ASSERT_EQ(to_bf16(bits_float(u | 0x7FFFu)).bits, bits);
    ASSERT_EQ(to_bf16(bits_float(u | 0x8000u)).bits, (bits & 1) != 0 ? bits + 1 : bits);
    ASSERT_EQ(to_bf16(bits_float(u | 0x8001u)).bits, bits + 1);
  }
  EXPECT_EQ(to_bf16(std::numeric_limits<float>::max()).bits, 0x7F80);
}

#if defined(__aarch64__) || defined(__FLT16_MAX__)
#ifdef __aarch64__
using CompilerHalf = __fp16;  // g++ 12 has _Float16 on x86 only
#else
using CompilerHalf = _Float16;
#endif
TEST(Fp16, AgreesWithTheCompiler) {
  const auto expected = [](float x) { return std::bit_cast<std::uint16_t>(static_cast<CompilerHalf>(x)); };
  for (unsigned bits = 0; bits < 0x10000u; ++bits) {
    const Fp16 h{static_cast<std::uint16_t>(bits)};
    const float x = to_float(h);
    if (std::isnan(x)) {
      EXPECT_EQ(to_fp16(x).bits & 0x7FFF, 0x7E00);
      continue;
    }
    ASSERT_EQ(x, static_cast<float>(std::bit_cast<CompilerHalf>(h.bits)));
    ASSERT_EQ(to_fp16(x).bits, bits);
    for (const float y : around(x)) {
      if (!std::isnan(y)) {
        ASSERT_EQ(to_fp16(y).bits, expected(y)) << y;
      }
    }
  }
  std::mt19937 rng(2);
  for (int i = 0; i < 500000; ++i) {
    const float x = bits_float(static_cast<std::uint32_t>(rng()));
    if (!std::isnan(x)) {
      ASSERT_EQ(to_fp16(x).bits, expected(x)) << x;
    }
  }
}
#endif

TEST(GlobalScale, PowerOfTwoIsTheSmallestThatCovers) {
  std::mt19937 rng(3);
  std::uniform_real_distribution<double> log_amax(-20.0, 30.0);
  std::vector<float> values = {2688.0f, 5376.0f, 1.0f, 6.0f, 448.0f, 0.0205078125f};
  for (const float x : {2688.0f, 1344.0f, 10.5f}) {
    values.push_back(std::nextafter(x, 0.0f));
    values.push_back(std::nextafter(x, kInf));
  }
  for (int i = 0; i < 10000; ++i) values.push_back(static_cast<float>(std::exp2(log_amax(rng))));
  for (const float a : values) {
    const GlobalScale g = power_of_two_scale(a);
    EXPECT_TRUE(is_power_of_two(g.decode));
    EXPECT_EQ(static_cast<double>(g.encode) * g.decode, 1.0);
    EXPECT_GE(static_cast<double>(g.decode) * 2688.0, a);
    EXPECT_LT(static_cast<double>(g.decode) * 1344.0, a);
  }
}

TEST(GlobalScale, ExtremesStayFinite) {
  for (const float a :
       {0.0f, std::numeric_limits<float>::denorm_min(), std::numeric_limits<float>::min(), kFloatMax}) {
    for (const Profile p :
         {Profile::te, Profile::torchao_inference, Profile::modelopt, Profile::compressed_tensors}) {
      for (const GlobalRule rule : {GlobalRule::power_of_two, GlobalRule::exact}) {
        const GlobalScale g = global_scale(a, {p, rule, BlockShape::row16});
        EXPECT_TRUE(std::isfinite(g.encode) && g.encode > 0) << a;
        EXPECT_TRUE(std::isfinite(g.decode) && g.decode > 0) << a;
      }
    }
  }
  EXPECT_EQ(global_scale(0.0f, {}).decode, 1.0f);
  EXPECT_EQ(exact_scale(2688.0f, Profile::te).encode, 1.0f);
  EXPECT_EQ(exact_scale(1e-38f, Profile::te).encode, kFloatMax);  // 2688 / 1e-38 is clamped, as in TE
}

}  // namespace
}  // namespace tetrad::nvfp4

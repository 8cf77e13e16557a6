// The CUDA codec against the CPU reference, byte for byte. Needs a device; without one every test says so and
// skips.
#include <gtest/gtest.h>
#include <tetrad/base/error.h>
#include <tetrad/nvfp4/cuda.h>
#include <tetrad/nvfp4/reference.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "gpu/device_array.h"
#include "support/gaussian.h"

namespace tetrad::nvfp4 {
namespace {

using test::gaussian;

using GpuCodec = GpuTest;

template <class T>
bool same_bytes(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

template <class T>
void expect_same(const std::vector<T>& x, std::int64_t rows, std::int64_t cols, std::int64_t stride,
                 const EncodeOptions& o) {
  const Amax greatest = reference::amax(x.data(), rows, cols, stride);
  const GlobalScale g = global_scale(greatest.value, o);
  const auto code_bytes = static_cast<std::size_t>(rows * packed_cols(cols) / 2);
  const auto scale_bytes = static_cast<std::size_t>(rows * packed_cols(cols) / 16);
  std::vector<std::uint8_t> codes(code_bytes), scales(scale_bytes);
  reference::quantize(x.data(), rows, cols, stride, g, o, codes.data(), scales.data());

  DeviceArray<T> dx(x);
  DeviceArray<std::uint32_t> damax(1);
  DeviceArray<GlobalScale> dg(1);
  DeviceArray<std::uint8_t> dcodes(code_bytes + 32, 0xC7), dscales(scale_bytes + 32, 0xC7);
  DeviceArray<unsigned long long> word(1);
  cuda::amax(dx.get(), rows, cols, stride, damax.get(), nullptr);
  cuda::global_scale(damax.get(), o, dg.get(), nullptr);
  cuda::quantize(dx.get(), rows, cols, stride, dg.get(), o, dcodes.get(), dscales.get(), {word.get(), 42},
                 nullptr);

  ASSERT_EQ(damax.host()[0], float_bits(greatest.value));
  ASSERT_EQ(float_bits(dg.host()[0].encode), float_bits(g.encode));
  ASSERT_EQ(float_bits(dg.host()[0].decode), float_bits(g.decode));
  codes.insert(codes.end(), 32, 0xC7);
  scales.insert(scales.end(), 32, 0xC7);
  ASSERT_TRUE(dscales.host() == scales) << rows << " x " << cols;
  ASSERT_TRUE(dcodes.host() == codes) << rows << " x " << cols;
  ASSERT_EQ(word.host()[0], greatest.first_bad < 0 ? 0u : 42u);

  const auto by_host = [&] {
    DeviceArray<std::uint8_t> codes_again(code_bytes + 32, 0xC7), scales_again(scale_bytes + 32, 0xC7);
    cuda::quantize(dx.get(), rows, cols, stride, g, o, codes_again.get(), scales_again.get(), {}, nullptr);
    ASSERT_TRUE(scales_again.host() == scales && codes_again.host() == codes) << rows << " x " << cols;
  };
  by_host();
  const auto both_ways = [&](auto zero, float decode) {
    using Out = decltype(zero);
    if (o.block != BlockShape::row16 || stride != cols) return;
    const auto n = static_cast<std::size_t>(rows * cols);
    std::vector<Out> expected(n);
    reference::dequantize(codes.data(), scales.data(), decode, rows, cols, expected.data());
    DeviceArray<Out> out(n);
    DeviceArray<unsigned long long> again(1);
    cuda::requantize(dx.get(), rows, cols, g, decode, out.get(), {again.get(), 42}, nullptr);
    ASSERT_TRUE(same_bytes(out.host(), expected)) << rows << " x " << cols;
    ASSERT_EQ(again.host()[0], greatest.first_bad < 0 ? 0u : 42u);
  };
  both_ways(0.0f, g.decode);
  both_ways(Bf16{}, 1.0f);
  both_ways(Fp16{}, 1.0f);
  if (is_power_of_two(g.decode)) both_ways(Bf16{}, g.decode);

  const auto compare = [&](auto zero, float decode) {
    using Out = decltype(zero);
    const auto n = static_cast<std::size_t>(rows * cols);
    std::vector<Out> expected(n);
    reference::dequantize(codes.data(), scales.data(), decode, rows, cols, expected.data());
    DeviceArray<Out> out(n);
    cuda::dequantize(dcodes.get(), dscales.get(), decode, rows, cols, out.get(), nullptr);
    ASSERT_TRUE(same_bytes(out.host(), expected)) << rows << " x " << cols;
  };
  compare(0.0f, g.decode);
  compare(Bf16{}, 1.0f);
  compare(Fp16{}, 1.0f);
  if (is_power_of_two(g.decode)) compare(Bf16{}, g.decode);
  compare(Fp16{}, 0x1p-12f);  // rounds, to subnormals too
  compare(Fp16{}, 0x1p9f);    // overflows
  compare(Fp16{}, 0x1p-30f);  // no factor that fp16 holds
}

std::vector<EncodeOptions> options() {
  std::vector<EncodeOptions> out;
  for (const GlobalRule rule : {GlobalRule::power_of_two, GlobalRule::exact}) {
    for (const BlockShape shape : {BlockShape::row16, BlockShape::tile16x16})
      out.push_back({Profile::te, rule, shape});
  }
  return out;
}

TEST_F(GpuCodec, MatchesTheReferenceOnOddShapes) {
  unsigned seed = 0;
  for (const EncodeOptions& o : options()) {
    for (const std::int64_t rows : {1, 15, 16, 35, 256}) {
      for (const std::int64_t cols : {1, 16, 17, 48, 500, 1024, 1027}) {
        const std::int64_t stride = cols + (rows % 2 != 0 ? 5 : 0);
        expect_same(gaussian<float>(rows * stride, ++seed, 0.02f), rows, cols, stride, o);
        expect_same(gaussian<Bf16>(rows * stride, ++seed, 0.02f), rows, cols, stride, o);
        expect_same(gaussian<Fp16>(rows * stride, ++seed, 0.02f), rows, cols, stride, o);
        if (HasFatalFailure()) return;
      }
    }
  }
}

// Tiles of whole 16-byte pieces with gaps between the rows, and rows of as many tiles as a warp takes or not.
TEST_F(GpuCodec, MatchesTheReferenceOnTilesOfEveryWidth) {
  unsigned seed = 900;
  const EncodeOptions o{Profile::te, GlobalRule::power_of_two, BlockShape::tile16x16};
  for (const std::int64_t cols : {64, 128, 240, 256, 272, 512, 2064, 4096}) {
    for (const std::int64_t rows : {7, 32, 49}) {
      for (const std::int64_t gap : {0, 8, 3}) {
        expect_same(gaussian<float>(rows * (cols + gap), ++seed, 0.02f), rows, cols, cols + gap, o);
        expect_same(gaussian<Bf16>(rows * (cols + gap), ++seed, 0.02f), rows, cols, cols + gap, o);
        expect_same(gaussian<Fp16>(rows * (cols + gap), ++seed, 0.02f), rows, cols, cols + gap, o);
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST_F(GpuCodec, MatchesTheReferenceOnEveryBf16) {
  std::vector<Bf16> all(65536), finite;
  for (unsigned i = 0; i < 65536; ++i) all[i].bits = static_cast<std::uint16_t>(i);
  for (const Bf16 h : all) finite.push_back(std::isfinite(to_float(h)) ? h : Bf16{});
  for (const EncodeOptions& o : options()) {
    expect_same(all, 64, 1024, 1024, o);
    expect_same(finite, 64, 1024, 1024, o);
    // Each magnitude of a useful range beside an outlier of 1, so that codes of every kind appear.
    std::vector<Bf16> ranged = finite;
    for (unsigned i = 0; i < 65536; ++i) {
      const float v = to_float(ranged[i]);
      if (std::abs(v) > 1.0f || i % 16 == 0) ranged[i] = to_bf16(1.0f);
    }
    expect_same(ranged, 64, 1024, 1024, o);
    if (HasFatalFailure()) return;
  }
}

TEST_F(GpuCodec, MatchesTheReferenceOnTiesAndExtremes) {
  const float ties[] = {0.25f, 0.75f, 1.25f, 1.75f, 2.5f, 3.5f, 5.0f};
  std::mt19937 rng(7);
  std::vector<float> x;
  for (int code = 1; code < 0x7F; ++code) {
    const float s = e4m3_decode(static_cast<std::uint8_t>(code));
    x.push_back(6.0f * s);
    for (int i = 1; i < 16; ++i) {
      const float v = ties[rng() % 7] * s;
      x.push_back(i % 3 == 0 ? v : i % 3 == 1 ? std::nextafter(-v, 0.0f) : std::nextafter(v, 1e9f));
    }
  }
  const auto cols = static_cast<std::int64_t>(x.size());
  std::vector<float> wild(64 * 512);
  for (float& v : wild) {
    do {
      v = bits_float(static_cast<std::uint32_t>(rng()));
    } while (!std::isfinite(v));
  }
  for (const EncodeOptions& o : options()) {
    expect_same(x, 1, cols, cols, o);
    expect_same(wild, 64, 512, 512, o);
    for (const float scale : {1e-38f, 1e-30f, 1e30f}) {
      std::vector<float> small = gaussian<float>(32 * 128, 3, 1.0f);
      for (float& v : small) v *= scale;
      expect_same(small, 32, 128, 128, o);
    }
    if (HasFatalFailure()) return;
  }
}

TEST_F(GpuCodec, MarksAndReportsNonFinite) {
  for (const EncodeOptions& o : options()) {
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
      std::vector<float> x = gaussian<float>(40 * 72, 1, 1.0f);
      x[33 * 72 + 70] = bad;
      expect_same(x, 40, 70 + 2, 72, o);
      x[5] = bad;
      expect_same(x, 40, 72, 72, o);
      if (HasFatalFailure()) return;
    }
  }
}

TEST_F(GpuCodec, RefusesOtherProfiles) {
  DeviceArray<float> x(16);
  DeviceArray<GlobalScale> g(1);
  DeviceArray<std::uint8_t> codes(8), scales(1);
  const EncodeOptions o{Profile::modelopt, GlobalRule::exact, BlockShape::row16};
  EXPECT_THROW(cuda::quantize(x.get(), 1, 16, 16, g.get(), o, codes.get(), scales.get(), {}, nullptr), Error);
}

}  // namespace
}  // namespace tetrad::nvfp4

// The operand codec and the swizzled scale layout on the device against the CPU, byte for byte. Needs a
// device; without one every test says so and skips.
#include <gtest/gtest.h>
#include <tetrad/base/error.h>
#include <tetrad/nvfp4/cuda/operand_codec.h>

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "gpu/device_array.h"
#include "support/gaussian.h"

namespace tetrad::nvfp4 {
namespace {

using test::gaussian;

using GpuOperand = GpuTest;
using Bytes = std::vector<std::uint8_t>;

template <class T>
void expect_same(const std::vector<T>& x, std::int64_t rows, std::int64_t cols, std::int64_t stride,
                 Operand o, const EncodeOptions& options) {
  const std::string where = std::to_string(rows) + " x " + std::to_string(cols) +
                            (o.transposed ? " transposed" : "") + (o.rotated ? " rotated" : "");
  const std::int64_t m_rows = o.transposed ? cols : rows, m_cols = o.transposed ? rows : cols;
  const Amax greatest = operand_amax(x.data(), rows, cols, stride, o);
  const GlobalScale g = global_scale(greatest.value, options);
  Bytes codes(static_cast<std::size_t>(m_rows * packed_cols(m_cols) / 2 + 32), 0xC7);
  Bytes scales(static_cast<std::size_t>(m_rows * packed_cols(m_cols) / 16 + 32), 0xC7);
  DeviceArray<std::uint8_t> dcodes(codes), dscales(scales), again_codes(codes), again_scales(scales);
  quantize_operand(x.data(), rows, cols, stride, o, g, options, codes.data(), scales.data());

  DeviceArray<T> dx(x);
  DeviceArray<std::uint32_t> damax(1);
  DeviceArray<GlobalScale> dg(1);
  DeviceArray<unsigned long long> word(1);
  cuda::operand_amax(dx.get(), rows, cols, stride, o, damax.get(), nullptr);
  cuda::global_scale(damax.get(), options, dg.get(), nullptr);
  cuda::quantize_operand(dx.get(), rows, cols, stride, o, dg.get(), options, dcodes.get(), dscales.get(),
                         {word.get(), 42}, nullptr);
  cuda::quantize_operand(dx.get(), rows, cols, stride, o, g, options, again_codes.get(), again_scales.get(),
                         {}, nullptr);
  ASSERT_EQ(damax.host()[0], float_bits(greatest.value)) << where;
  ASSERT_EQ(dscales.host(), scales) << where;
  ASSERT_EQ(dcodes.host(), codes) << where;
  ASSERT_EQ(again_scales.host(), scales) << where;
  ASSERT_EQ(again_codes.host(), codes) << where;
  ASSERT_EQ(word.host()[0], greatest.first_bad < 0 ? 0u : 42u) << where;
}

TEST_F(GpuOperand, MatchesTheCpu) {
  unsigned seed = 0;
  for (const bool transposed : {false, true}) {
    for (const bool rotate : {false, true}) {
      for (const BlockTarget target : {BlockTarget::six, BlockTarget::four_or_six}) {
        for (const Rounding rounding : {Rounding::nearest, Rounding::stochastic}) {
          EncodeOptions options;
          options.target = target;
          options.rounding = rounding;
          options.draws = {0x1234567890ull, tensor_key("dy"), ++seed};
          options.first_row = 5;
          for (const std::int64_t rows : {1, 16, 48, 67, 256}) {
            for (const std::int64_t cols : {1, 16, 33, 128, 500}) {
              if (rotate && (transposed ? rows : cols) % 16 != 0) continue;
              const std::int64_t stride = cols + (rows % 2 != 0 ? 5 : 0);
              const Operand o{transposed, rotate};
              expect_same(gaussian<float>(rows * stride, ++seed, 0.02f), rows, cols, stride, o, options);
              expect_same(gaussian<Bf16>(rows * stride, ++seed, 0.02f), rows, cols, stride, o, options);
              expect_same(gaussian<Fp16>(rows * stride, ++seed, 0.02f), rows, cols, stride, o, options);
              if (HasFatalFailure()) return;
            }
          }
        }
      }
    }
  }
}

TEST_F(GpuOperand, MatchesTheCpuOnWildValuesAndNonFiniteOnes) {
  std::mt19937 rng(3);
  std::vector<float> wild(64 * 128);
  for (float& v : wild) {
    do {
      v = bits_float(static_cast<std::uint32_t>(rng()));
    } while (!std::isfinite(v));
  }
  std::vector<float> bad = wild;
  bad[70] = std::numeric_limits<float>::quiet_NaN();
  bad[9 * 128 + 3] = -std::numeric_limits<float>::infinity();
  for (const bool transposed : {false, true}) {
    for (const BlockTarget target : {BlockTarget::six, BlockTarget::four_or_six}) {
      EncodeOptions options;
      options.target = target;
      options.rounding = target == BlockTarget::six ? Rounding::nearest : Rounding::stochastic;
      expect_same(wild, 64, 128, 128, {transposed, false}, options);
      expect_same(bad, 64, 128, 128, {transposed, false}, options);
      if (HasFatalFailure()) return;
    }
  }
}

TEST_F(GpuOperand, RefusesWhatItDoesNotHave) {
  DeviceArray<float> x(256);
  DeviceArray<std::uint8_t> codes(128), scales(16);
  EncodeOptions tile;
  tile.block = BlockShape::tile16x16;
  EXPECT_THROW(cuda::quantize_operand(x.get(), 16, 16, 16, {}, GlobalScale{}, tile, codes.get(), scales.get(),
                                      {}, nullptr),
               Error);
  EXPECT_THROW(cuda::quantize_operand(x.get(), 16, 15, 16, {false, true}, GlobalScale{}, {}, codes.get(),
                                      scales.get(), {}, nullptr),
               Error);
  EncodeOptions drawn;
  drawn.rounding = Rounding::stochastic;
  EXPECT_THROW(
      cuda::quantize(x.get(), 16, 16, 16, GlobalScale{}, drawn, codes.get(), scales.get(), {}, nullptr),
      Error);
}

TEST_F(GpuOperand, SwizzledScalesMatchTheCpu) {
  std::mt19937 rng(4);
  for (const auto& [rows, columns] :
       {std::pair<std::int64_t, std::int64_t>{1, 1}, {128, 4}, {127, 3}, {129, 5}, {300, 36}, {1024, 7}}) {
    Bytes plain(static_cast<std::size_t>(rows * columns));
    for (std::uint8_t& b : plain) b = static_cast<std::uint8_t>(rng());
    Bytes swizzled(static_cast<std::size_t>(swizzled_size(rows, columns)), 0xEE);
    swizzle_scales(plain.data(), rows, columns, swizzled.data());
    DeviceArray<std::uint8_t> from(plain), to(swizzled.size(), 0xEE), back(plain.size(), 0xEE);
    cuda::swizzle_scales(from.get(), rows, columns, to.get(), nullptr);
    cuda::unswizzle_scales(to.get(), rows, columns, back.get(), nullptr);
    ASSERT_EQ(to.host(), swizzled) << rows << " x " << columns;
    ASSERT_EQ(back.host(), plain) << rows << " x " << columns;
  }
}

}  // namespace
}  // namespace tetrad::nvfp4

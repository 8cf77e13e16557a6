// The packed CUDA product against double precision sums of the same decoded values, within the bound that
// packed_linear.h gives; and what it promises bit for bit.
#include <gtest/gtest.h>
#include <tetrad/base/error.h>
#include <tetrad/nvfp4/cuda/packed_linear.h>
#include <tetrad/nvfp4/packed_tensor.h>

#include <cmath>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "gpu/packed_weights.h"

namespace tetrad::nvfp4 {
namespace {

using GpuPackedLinear = GpuTest;

template <class T>
void run_shapes(bool with_lo) {
  std::mt19937 rng(with_lo ? 11 : 7);
  for (const std::int64_t cols : {1, 16, 31, 48, 128, 200, 576, 1040, 2560}) {
    for (const std::int64_t rows : {1, 16, 40, 333}) {
      Weight w = make_weight<T>(rng, rows, cols, rows == 40 ? 0.37f : 0.0078125f, with_lo);
      for (const int m : {1, 3, 8, 9, 16}) {
        const std::int64_t stride = cols + (m == 3 ? 5 : 0), y_stride = rows + 3;
        const std::vector<T> x = make_x<T>(rng, m, stride);
        DeviceArray<T> dx(x);
        DeviceArray<float> y(static_cast<std::size_t>(m * y_stride), 0x7F);
        const cuda::PackedLinear one = on_device(w, y.get(), y_stride);
        cuda::packed_linear(dx.get(), m, cols, stride, {&one, 1}, cuda::PackedEpilogue::store, true, nullptr);
        const std::vector<float> result = y.host();
        expect_product(w, x, m, stride, result, y_stride);
        for (std::int64_t i = 0; i < m; ++i) {
          for (std::int64_t r = rows; r < y_stride; ++r)
            ASSERT_EQ(float_bits(result[static_cast<std::size_t>(i * y_stride + r)]), 0x7F7F7F7Fu)
                << "written past a row";
        }
        if (testing::Test::HasFatalFailure()) return;
      }
    }
  }
}

TEST_F(GpuPackedLinear, MatchesExactSumsBf16) {
  run_shapes<Bf16>(false);
}
TEST_F(GpuPackedLinear, MatchesExactSumsFp16) {
  run_shapes<Fp16>(false);
}
TEST_F(GpuPackedLinear, MatchesExactSumsHiAndLoBf16) {
  run_shapes<Bf16>(true);
}
TEST_F(GpuPackedLinear, MatchesExactSumsHiAndLoFp16) {
  run_shapes<Fp16>(true);
}

// Enough rows that the plan takes two tiles a block.
TEST_F(GpuPackedLinear, MatchesExactSumsOfATallWeight) {
  std::mt19937 rng(3);
  Weight w = make_weight<Bf16>(rng, 70001, 256, 0.25f, false);
  for (const int m : {1, 16}) {
    const std::vector<Bf16> x = make_x<Bf16>(rng, m, 256);
    DeviceArray<Bf16> dx(x);
    DeviceArray<float> y(static_cast<std::size_t>(m * w.rows), 0x7F);
    const cuda::PackedLinear one = on_device(w, y.get(), w.rows);
    cuda::packed_linear(dx.get(), m, 256, 256, {&one, 1}, cuda::PackedEpilogue::store, true, nullptr);
    expect_product(w, x, m, 256, y.host(), w.rows);
  }
}

std::vector<float> widened(const std::vector<Bf16>& values) {
  std::vector<float> out;
  for (const Bf16 v : values) out.push_back(to_float(v));
  return out;
}

TEST_F(GpuPackedLinear, AGroupGivesWhatEachWeightGivesAlone) {
  std::mt19937 rng(19);
  const std::int64_t k = 576;
  std::vector<Weight> weights;
  for (const std::int64_t rows : {576, 192, 200})
    weights.push_back(make_weight<Bf16>(rng, rows, k, 0.5f, false));
  for (const int m : {1, 11}) {
    const std::vector<Bf16> x = make_x<Bf16>(rng, m, k);
    DeviceArray<Bf16> dx(x);
    std::vector<std::unique_ptr<DeviceArray<float>>> y;
    std::vector<cuda::PackedLinear> group;
    for (Weight& w : weights) {
      y.push_back(std::make_unique<DeviceArray<float>>(static_cast<std::size_t>(m * w.rows), 0x7F));
      group.push_back(on_device(w, y.back()->get(), w.rows));
    }
    cuda::packed_linear(dx.get(), m, k, k, group, cuda::PackedEpilogue::store, true, nullptr);
    for (std::size_t i = 0; i < weights.size(); ++i)
      expect_product(weights[i], x, m, k, y[i]->host(), weights[i].rows);
  }
}

// A token's result must not depend on what is computed beside it.
TEST_F(GpuPackedLinear, ARowIsTheSameWhateverStandsBesideIt) {
  std::mt19937 rng(23);
  const std::int64_t k = 1536, rows = 570;
  Weight w = make_weight<Bf16>(rng, rows, k, 0.03125f, false);
  const std::vector<Bf16> x = make_x<Bf16>(rng, 16, k);
  DeviceArray<Bf16> dx(x);
  DeviceArray<Bf16> all(static_cast<std::size_t>(16 * rows));
  const cuda::PackedLinear whole = on_device(w, all.get(), rows);
  cuda::packed_linear(dx.get(), 16, k, k, {&whole, 1}, cuda::PackedEpilogue::store, false, nullptr);
  const std::vector<Bf16> expected = all.host();
  for (const int m : {1, 2, 5, 8, 9}) {
    for (int repeat = 0; repeat < 3; ++repeat) {
      DeviceArray<Bf16> some(static_cast<std::size_t>(m * rows), 0xEE);
      const cuda::PackedLinear one = on_device(w, some.get(), rows);
      cuda::packed_linear(dx.get(), m, k, k, {&one, 1}, cuda::PackedEpilogue::store, false, nullptr);
      const std::vector<Bf16> got = some.host();
      ASSERT_EQ(std::memcmp(got.data(), expected.data(), got.size() * sizeof(Bf16)), 0) << m;
    }
  }
}

TEST_F(GpuPackedLinear, EpiloguesRoundLikeThePlainOperations) {
  std::mt19937 rng(29);
  const std::int64_t k = 640, rows = 300;
  Weight gate = make_weight<Bf16>(rng, rows, k, 0.004f, false);
  Weight up = make_weight<Bf16>(rng, rows, k, 0.0078125f, false);
  for (const int m : {1, 10}) {
    const std::vector<Bf16> x = make_x<Bf16>(rng, m, k);
    const std::vector<Bf16> residual = make_x<Bf16>(rng, m, rows);
    DeviceArray<Bf16> dx(x), g(static_cast<std::size_t>(m * rows)), u(static_cast<std::size_t>(m * rows)),
        fused(static_cast<std::size_t>(m * rows)), sum(residual);
    const auto run = [&](std::vector<cuda::PackedLinear> group, cuda::PackedEpilogue epilogue) {
      cuda::packed_linear(dx.get(), m, k, k, group, epilogue, false, nullptr);
    };
    // add has the plan of a plain store, hence the same sums.
    run({on_device(gate, g.get(), rows)}, cuda::PackedEpilogue::store);
    run({on_device(up, u.get(), rows)}, cuda::PackedEpilogue::store);
    run({on_device(gate, sum.get(), rows)}, cuda::PackedEpilogue::add);
    run({on_device(gate, fused.get(), rows), on_device(up, nullptr, 0)}, cuda::PackedEpilogue::silu_mul);
    const std::vector<float> vg = widened(g.host()), vu = widened(u.host()), vs = widened(sum.host()),
                             vf = widened(fused.host()), vr = widened(residual);
    for (std::size_t i = 0; i < vg.size(); ++i) {
      ASSERT_EQ(vs[i], to_float(to_bf16(vg[i] + vr[i])));
      const float silu = to_float(to_bf16(vg[i] / (1.0f + std::exp(-vg[i]))));
      // Another plan, another order: gate and up may be rounded to a neighbour, which silu enlarges by
      // |gate|.
      ASSERT_NEAR(vf[i], silu * vu[i], 0.05f * std::abs(silu * vu[i]) + 1e-3f);
    }
  }
}

TEST_F(GpuPackedLinear, ANanScaleMakesItsRowNan) {
  std::mt19937 rng(31);
  Weight w = make_weight<Bf16>(rng, 40, 256, 1.0f, false);
  w.scales[17 * 16 + 5] = kE4m3Nan;
  w.on_scales = std::make_unique<DeviceArray<std::uint8_t>>(w.scales);
  const std::vector<Bf16> x = make_x<Bf16>(rng, 2, 256);
  DeviceArray<Bf16> dx(x);
  DeviceArray<float> y(2 * 40);
  const cuda::PackedLinear one = on_device(w, y.get(), 40);
  cuda::packed_linear(dx.get(), 2, 256, 256, {&one, 1}, cuda::PackedEpilogue::store, true, nullptr);
  const std::vector<float> result = y.host();
  for (std::size_t i = 0; i < result.size(); ++i) EXPECT_EQ(std::isnan(result[i]), i % 40 == 17) << i;
}

TEST_F(GpuPackedLinear, RefusesWhatItCannotDo) {
  std::mt19937 rng(37);
  Weight w = make_weight<Bf16>(rng, 16, 32, 1.0f, false);
  Weight other = make_weight<Bf16>(rng, 32, 32, 1.0f, false);
  DeviceArray<Bf16> x(17 * 32), y(17 * 32);
  const cuda::PackedLinear one = on_device(w, y.get(), 16);
  const cuda::PackedLinear unequal[] = {one, on_device(other, y.get(), 32)};
  const auto store = cuda::PackedEpilogue::store;
  EXPECT_THROW(cuda::packed_linear(x.get(), 17, 32, 32, {&one, 1}, store, false, nullptr), Error);
  EXPECT_THROW(cuda::packed_linear(x.get(), 0, 32, 32, {&one, 1}, store, false, nullptr), Error);
  EXPECT_THROW(cuda::packed_linear(x.get(), 1, 32, 32, {}, store, false, nullptr), Error);
  EXPECT_THROW(
      cuda::packed_linear(x.get(), 1, 32, 32, unequal, cuda::PackedEpilogue::silu_mul, false, nullptr),
      Error);
  EXPECT_THROW(cuda::packed_linear(x.get(), 1, 32, 32, {&one, 1}, cuda::PackedEpilogue::add, true, nullptr),
               Error);
}

}  // namespace
}  // namespace tetrad::nvfp4

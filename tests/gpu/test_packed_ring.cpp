// The packed product through a ring in shared memory, with the plan forced: odd numbers of rows, few stages
// and slots, one and several slabs, against sums in double; and that neither the plan's
// freedoms nor the rows of x beside it change a bit of a row's result.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "gpu/packed_weights.h"
#include "nvfp4/cuda/packed_plan.h"

namespace tetrad::nvfp4 {
namespace {

using GpuPackedRing = GpuTest;
using cuda::PackedEpilogue;
using cuda::PackedLinear;
using cuda::PackedPlan;
using cuda::RingPlan;

PackedPlan through(const RingPlan& ring) {
  PackedPlan plan;
  plan.ring = true;
  plan.through = ring;
  return plan;
}

// warps, groups, producers, stages, slots, blocks, shared: the default first.
std::vector<RingPlan> plans() {
  const int small = cuda::kSmallShared;
  std::vector<RingPlan> all = {{},
                               {10, 1, 1, 32, 4, 1, small},
                               {10, 2, 2, 32, 4, 2, small},
                               {10, 1, 3, 2, 2, 1, small},
                               {3, 2, 3, 3, 2, 3, 60 * 1024},
                               {20, 1, 3, 32, 8, 1, 220 * 1024},
                               {5, 2, 1, 32, 8, 1, small}};
  std::erase_if(all, [](const RingPlan& plan) { return plan.shared > cuda::device_limits().shared; });
  return all;
}

template <class T>
std::vector<float> product(const RingPlan& plan, const Weight& w, const std::vector<T>& x, int m,
                           std::int64_t stride) {
  DeviceArray<T> dx(x);
  DeviceArray<float> y(static_cast<std::size_t>(m * (w.rows + 3)), 0x7F);
  const PackedLinear one = on_device(w, y.get(), w.rows + 3);
  EXPECT_TRUE(cuda::ring_takes(plan, m, w.cols, {&one, 1}));
  cuda::packed_linear_planned(through(plan), dx.get(), m, w.cols, stride, {&one, 1}, PackedEpilogue::store,
                              true, nullptr);
  const std::vector<float> all = y.host();
  std::vector<float> result;
  for (int i = 0; i < m; ++i) {
    for (std::int64_t r = 0; r < w.rows + 3; ++r) {
      const float value = all[static_cast<std::size_t>(i * (w.rows + 3) + r)];
      if (r < w.rows)
        result.push_back(value);
      else
        EXPECT_EQ(float_bits(value), 0x7F7F7F7Fu) << "written past a row";
    }
  }
  return result;
}

template <class T>
void run_shapes() {
  std::mt19937 rng(41);
  for (const std::int64_t cols : {256, 768, 2560, 4096, 9728}) {
    for (const std::int64_t rows : {1, 15, 333, 2500}) {
      if (rows == 2500 && cols != 768 && cols != 4096) continue;
      const Weight w = make_weight<T>(rng, rows, cols, rows == 15 ? 0.37f : 0.0078125f, false);
      const std::int64_t stride = cols + 5;
      const std::vector<T> x = make_x<T>(rng, 16, stride);
      for (const RingPlan& plan : plans()) {
        const std::vector<float> all = product(plan, w, x, 16, stride);
        expect_product(w, x, 16, stride, all, rows);
        if (testing::Test::HasFailure()) return;
        for (const int m : {1, 3, 8, 9}) {
          const std::vector<float> some = product(plan, w, x, m, stride);
          ASSERT_EQ(std::memcmp(some.data(), all.data(), some.size() * sizeof(float)), 0)
              << m << " of 16 rows of x, weight " << rows << " x " << cols << ", warps " << plan.warps;
        }
      }
    }
  }
}

TEST_F(GpuPackedRing, MatchesExactSumsBf16) {
  run_shapes<Bf16>();
}
TEST_F(GpuPackedRing, MatchesExactSumsFp16) {
  run_shapes<Fp16>();
}

TEST_F(GpuPackedRing, OnlyTheColumnsOfAWarpDecideTheBits) {
  std::mt19937 rng(43);
  const Weight w = make_weight<Bf16>(rng, 777, 2560, 0.5f, false);
  const std::vector<Bf16> x = make_x<Bf16>(rng, 5, 2560);
  const std::vector<float> expected = product(RingPlan{}, w, x, 5, 2560);
  for (RingPlan plan : plans()) {
    plan.warps = 20;  // one slab
    for (int repeat = 0; repeat < 20; ++repeat) {
      const std::vector<float> got = product(plan, w, x, 5, 2560);
      ASSERT_EQ(std::memcmp(got.data(), expected.data(), got.size() * sizeof(float)), 0);
    }
  }
}

TEST_F(GpuPackedRing, GroupsAndEpilogues) {
  std::mt19937 rng(47);
  const std::int64_t k = 1280;
  const Weight weights[] = {make_weight<Bf16>(rng, 1500, k, 0.004f, false),
                            make_weight<Bf16>(rng, 1500, k, 0.0078125f, false),
                            make_weight<Bf16>(rng, 7, k, 0.5f, false)};
  for (const RingPlan& plan : plans()) {
    for (const int m : {1, 10}) {
      const std::vector<Bf16> x = make_x<Bf16>(rng, m, k), residual = make_x<Bf16>(rng, m, 1500);
      DeviceArray<Bf16> dx(x), fused(static_cast<std::size_t>(m) * 1500), sum(residual);
      std::vector<std::unique_ptr<DeviceArray<Bf16>>> y;
      std::vector<PackedLinear> group;
      for (const Weight& w : weights) {
        y.push_back(std::make_unique<DeviceArray<Bf16>>(static_cast<std::size_t>(m * w.rows)));
        group.push_back(on_device(w, y.back()->get(), w.rows));
      }
      const auto run = [&](std::vector<PackedLinear> these, PackedEpilogue epilogue) {
        cuda::packed_linear_planned(through(plan), dx.get(), m, k, k, these, epilogue, false, nullptr);
      };
      run(group, PackedEpilogue::store);
      run({on_device(weights[0], sum.get(), 1500)}, PackedEpilogue::add);
      run({on_device(weights[0], fused.get(), 1500), on_device(weights[1], nullptr, 0)},
          PackedEpilogue::silu_mul);
      for (std::size_t i = 0; i < 3; ++i) {
        const std::vector<float> alone = product(plan, weights[i], x, m, k);
        const std::vector<Bf16> got = y[i]->host();
        for (std::size_t j = 0; j < got.size(); ++j)
          ASSERT_EQ(got[j].bits, to_bf16(alone[j]).bits) << "weight " << i << " of the group";
      }
      const std::vector<Bf16> gate = y[0]->host(), up = y[1]->host(), added = sum.host(),
                              gated = fused.host();
      for (std::size_t j = 0; j < gate.size(); ++j) {
        ASSERT_EQ(added[j].bits, to_bf16(to_float(gate[j]) + to_float(residual[j])).bits);
        const float g = to_float(gate[j]);
        const float expected = to_float(to_bf16(g / (1.0f + std::exp(-g)))) * to_float(up[j]);
        // expf on the device may round another way.
        ASSERT_NEAR(to_float(gated[j]), expected, 0.01f * std::abs(expected) + 1e-30f);
      }
    }
  }
}

TEST_F(GpuPackedRing, ANanScaleMakesItsRowNan) {
  std::mt19937 rng(53);
  Weight w = make_weight<Bf16>(rng, 40, 512, 1.0f, false);
  for (const std::size_t block : {5, 6, 7, 8, 31}) {
    Weight bad = make_weight<Bf16>(rng, 40, 512, 1.0f, false);
    bad.scales[17 * 32 + block] = kE4m3Nan;
    bad.on_scales = std::make_unique<DeviceArray<std::uint8_t>>(bad.scales);
    const std::vector<float> y = product(RingPlan{}, bad, make_x<Bf16>(rng, 2, 512), 2, 512);
    for (std::size_t i = 0; i < y.size(); ++i) EXPECT_EQ(std::isnan(y[i]), i % 40 == 17) << i;
  }
}

// What GB10 and the other devices of sm_12x offer, on whatever device this is.
TEST_F(GpuPackedRing, TheDefaultPlanFitsASmallDevice) {
  for (const std::int64_t k : {256, 2560, 4096, 9728, 12288}) {
    for (const int m : {1, 8}) {
      const RingPlan plan;
      const cuda::RingLayout layout =
          cuda::ring_layout(plan, cuda::ring_shape(k, plan.warps), m, cuda::kSmallShared);
      EXPECT_GE(layout.stages, 2) << k;
      EXPECT_LE(layout.bytes, cuda::kSmallShared) << k;
    }
  }
}

TEST_F(GpuPackedRing, InAGraph) {
  std::mt19937 rng(59);
  const Weight w = make_weight<Bf16>(rng, 500, 2560, 0.5f, false);
  const std::vector<Bf16> x = make_x<Bf16>(rng, 1, 2560);
  const std::vector<float> expected = product(RingPlan{}, w, x, 1, 2560);
  DeviceArray<Bf16> dx(x);
  DeviceArray<float> y(500 * 40, 0x7F);
  cudaStream_t stream = nullptr;
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t exec = nullptr;
  ASSERT_EQ(cudaStreamCreate(&stream), cudaSuccess);
  ASSERT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
  for (int i = 0; i < 40; ++i) {
    const PackedLinear one = on_device(w, y.get() + i * 500, 500);
    cuda::packed_linear_planned(through({}), dx.get(), 1, 2560, 2560, {&one, 1}, PackedEpilogue::store, true,
                                stream);
  }
  ASSERT_EQ(cudaStreamEndCapture(stream, &graph), cudaSuccess);
  ASSERT_EQ(cudaGraphInstantiate(&exec, graph, 0), cudaSuccess);
  for (int replay = 0; replay < 3; ++replay) ASSERT_EQ(cudaGraphLaunch(exec, stream), cudaSuccess);
  ASSERT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  const std::vector<float> got = y.host();
  for (int i = 0; i < 40; ++i)
    ASSERT_EQ(std::memcmp(got.data() + i * 500, expected.data(), 500 * sizeof(float)), 0) << i;
  cudaGraphExecDestroy(exec);
  cudaGraphDestroy(graph);
  cudaStreamDestroy(stream);
}

}  // namespace
}  // namespace tetrad::nvfp4

// optim-adamw against libtorch's own AdamW, and its promises: masters, stochastic rounding, stop and
// non-finite gradients, saved state, threads.
#include <ATen/ops/_fused_adamw.h>
#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "optim_adamw.h"
#include "optim_rig.h"

namespace tetrad::test {
namespace {

using optim_adamw::OptimAdamW;

constexpr double kLr = 1e-3, kDecay = 0.1;

std::unique_ptr<OptimAdamW> ready(const Options& options, std::uint64_t seed = 7) {
  auto optimizer = std::make_unique<OptimAdamW>(options);
  OptimizerSetup setup;
  setup.seed = seed;
  expect_ok(optimizer->configure(setup));
  return optimizer;
}

TEST(OptimAdamW, IsLibtorchsAdamWWithinRounding) {
  for (const auto& shape : std::vector<std::vector<std::int64_t>>{{1}, {67}, {5, 37}, {64, 48}}) {
    Parameter p = random_parameter("w", shape, at::kFloat, 1);
    at::Tensor w = p.dense.clone(), m = at::zeros_like(w), v = at::zeros_like(w),
               t = at::zeros({}, at::kFloat);
    auto optimizer = ready(adamw_options("fp32", "fp32", 0.999));
    StateId id = -1;
    expect_ok(optimizer->prepare(p, kDecay, id));
    const at::Tensor clip = at::full({1}, 0.25F);
    for (int i = 1; i <= 20; ++i) {
      const at::Tensor g = at::randn(shape);
      const double lr = kLr / i;
      t.add_(1);
      at::_fused_adamw_({w}, {g.mul(0.25)}, {m}, {v}, {}, {t}, lr, 0.9, 0.999, kDecay, 1e-8, false, false);
      step(*optimizer, id, g, i, lr, clip);
    }
    EXPECT_TRUE(at::allclose(p.dense, w, 1e-6, 1e-7)) << p.dense.sub(w).abs().max();
    const auto state = state_bits(*optimizer, id);
    EXPECT_TRUE(at::allclose(state[0], m, 1e-6, 1e-7));
    EXPECT_TRUE(at::allclose(state[1], v, 1e-6, 1e-10));
  }
}

TEST(OptimAdamW, A16BitWeightIsItsRoundedMaster) {
  for (const at::ScalarType type : {at::kBFloat16, at::kHalf}) {
    Parameter p = random_parameter("w", {9, 33}, type, 2), wide = p;
    wide.dense = p.dense.to(at::kFloat);
    wide.format = Format::fp32;
    auto optimizer = ready(adamw_options()), other = ready(adamw_options());
    StateId id = -1, id_wide = -1;
    expect_ok(optimizer->prepare(p, kDecay, id));
    expect_ok(other->prepare(wide, kDecay, id_wide));
    for (int i = 1; i <= 10; ++i) {
      const at::Tensor g = at::randn({9, 33});
      step(*optimizer, id, g, i, 1e-5);
      step(*other, id_wide, g, i, 1e-5);
    }
    EXPECT_TRUE(at::equal(p.dense, wide.dense.to(type)));
    EXPECT_TRUE(at::equal(state_bits(*optimizer, id)[2], wide.dense));
    StorageTable table;
    expect_ok(optimizer->describe(id, table));
    EXPECT_EQ(table.master.bytes, 9 * 33 * 4);
    EXPECT_EQ(table.w.bytes, 9 * 33 * 2);
    EXPECT_EQ(optimizer->memory().device_bytes, 9 * 33 * 12);
  }
}

TEST(OptimAdamW, StochasticRoundingKeepsTheMeanAndNearestStalls) {
  // Steps of 1e-4 on weights around 1, whose bf16 neighbours are 2^-7 apart: 200 steps move 0.02.
  for (const char* master : {"none", "bf16"}) {
    Parameter p = random_parameter("w", {64, 64}, at::kBFloat16, 3);
    p.dense.fill_(1.25);
    auto optimizer = ready(adamw_options(master));
    StateId id = -1;
    expect_ok(optimizer->prepare(p, 0.0, id));
    const at::Tensor g = at::ones({64, 64});
    for (int i = 1; i <= 200; ++i) step(*optimizer, id, g, i, 1e-4);
    const double mean = p.dense.to(at::kDouble).mean().item<double>();
    // The spread of one element is at most sqrt(200) * half a step; of the mean of 4096 that / 64.
    if (std::string(master) == "none")
      EXPECT_NEAR(mean, 1.23, 4 * 0.0039 * std::sqrt(200.0 * 0.013) / 64 + 1e-5);
    else
      EXPECT_EQ(mean, 1.25);
  }
}

TEST(OptimAdamW, NothingMovesAtLearningRateZero) {
  for (const char* master : {"fp32", "bf16", "none"}) {
    Parameter p = random_parameter("w", {7, 21}, at::kBFloat16, 4);
    const auto before = stored_bits(p);
    auto optimizer = ready(adamw_options(master));
    StateId id = -1;
    expect_ok(optimizer->prepare(p, kDecay, id));
    for (int i = 1; i <= 50; ++i) step(*optimizer, id, at::randn({7, 21}), i, 0.0);
    EXPECT_TRUE(same(stored_bits(p), before)) << master;
  }
}

TEST(OptimAdamW, AStopWordForbidsEverythingAndANonFiniteGradientSetsIt) {
  Parameter p = random_parameter("a", {4, 20}, at::kFloat, 5), q = random_parameter("b", {30}, at::kFloat, 6);
  auto optimizer = ready(adamw_options());
  StateId first = -1, second = -1;
  expect_ok(optimizer->prepare(p, kDecay, first));
  expect_ok(optimizer->prepare(q, kDecay, second));
  const at::Tensor stop = at::zeros({1}, at::kInt);
  at::Tensor bad = at::ones({4, 20});
  bad[2][7] = std::numeric_limits<float>::quiet_NaN();
  const auto before = values_of(p), others = values_of(q);
  step(*optimizer, first, bad, 1, kLr, {}, stop);
  EXPECT_EQ(stop.item<int>(), first + 1);
  EXPECT_EQ(p.dense[2][7].item<float>(), before[2][7].item<float>());
  EXPECT_EQ(state_bits(*optimizer, first)[0][2][7].item<float>(), 0.0F);
  step(*optimizer, second, at::ones({30}), 1, kLr, {}, stop);
  EXPECT_TRUE(at::equal(values_of(q), others));
  stop.zero_();
  step(*optimizer, second, at::ones({30}), 1, kLr, {}, stop);
  EXPECT_FALSE(at::equal(values_of(q), others));
  for (const float value : {std::numeric_limits<float>::infinity(), 1e30F}) {  // the square of 1e30 overflows
    at::Tensor g = at::ones({30});
    g[29] = value;
    stop.zero_();
    step(*optimizer, second, g, 2, kLr, {}, stop);
    EXPECT_EQ(stop.item<int>(), second + 1);
  }
}

TEST(OptimAdamW, SavedStateContinuesToTheSameBits) {
  for (const char* master : {"fp32", "none"}) {
    Parameter p = random_parameter("w", {6, 19}, at::kBFloat16, 8);
    auto optimizer = ready(adamw_options(master));
    StateId id = -1;
    expect_ok(optimizer->prepare(p, kDecay, id));
    std::vector<at::Tensor> gradients;
    for (int i = 0; i < 12; ++i) gradients.push_back(at::randn({6, 19}));
    for (int i = 1; i <= 5; ++i) step(*optimizer, id, gradients[i - 1], i, kLr);
    Parameter copy = p;
    copy.dense = p.dense.clone();
    std::vector<NamedTensor> saved;
    expect_ok(optimizer->state(id, saved));
    for (NamedTensor& each : saved) each.tensor = each.tensor.clone();
    for (int i = 6; i <= 12; ++i) step(*optimizer, id, gradients[i - 1], i, kLr);

    auto resumed = ready(adamw_options(master));
    StateId id2 = -1;
    expect_ok(resumed->prepare(copy, kDecay, id2));
    expect_ok(resumed->restore(id2, saved));
    for (int i = 6; i <= 12; ++i) step(*resumed, id2, gradients[i - 1], i, kLr);
    EXPECT_TRUE(same(stored_bits(p), stored_bits(copy)));
    EXPECT_TRUE(same(state_bits(*optimizer, id), state_bits(*resumed, id2)));
  }
}

TEST(OptimAdamW, ARefusedRestoreChangesNothing) {
  Parameter p = random_parameter("w", {6, 19}, at::kFloat, 9);
  auto optimizer = ready(adamw_options());
  StateId id = -1;
  expect_ok(optimizer->prepare(p, kDecay, id));
  step(*optimizer, id, at::randn({6, 19}), 1, kLr);
  const auto before = state_bits(*optimizer, id);
  std::vector<NamedTensor> other = {{"m", at::ones({6, 19})}, {"v", at::ones({6, 18})}};
  const Status status = optimizer->restore(id, other);
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(status.message, testing::HasSubstr("'v'"));
  EXPECT_TRUE(same(before, state_bits(*optimizer, id)));
  other.pop_back();
  EXPECT_FALSE(optimizer->restore(id, other).ok());
  EXPECT_FALSE(optimizer->restore(5, other).ok());
}

TEST(OptimAdamW, ThreadsDoNotMatter) {
  std::vector<std::vector<at::Tensor>> results;
  const int threads = at::get_num_threads();
  for (const int n : {1, 2, 3}) {
    at::set_num_threads(n);
    Parameter p = random_parameter("w", {130, 70}, at::kBFloat16, 10);
    auto optimizer = ready(adamw_options("none"));
    StateId id = -1;
    expect_ok(optimizer->prepare(p, kDecay, id));
    for (int i = 1; i <= 3; ++i) step(*optimizer, id, at::ones({130, 70}).mul(0.1), i, kLr);
    results.push_back(stored_bits(p));
  }
  at::set_num_threads(threads);
  EXPECT_TRUE(same(results[0], results[1]));
  EXPECT_TRUE(same(results[0], results[2]));
}

TEST(OptimAdamW, RefusesWhatItCannotDo) {
  auto optimizer = std::make_unique<OptimAdamW>(adamw_options("none"));
  Parameter p = random_parameter("w", {4, 16}, at::kHalf, 11);
  StateId id = -1;
  EXPECT_THAT(optimizer->prepare(p, 0, id).message, testing::HasSubstr("before configure"));
  OptimizerSetup setup;
  setup.device = at::Device(at::kCUDA, 0);
  EXPECT_EQ(optimizer->configure(setup).code, StatusCode::unsupported);
  expect_ok(optimizer->configure({}));
  EXPECT_THAT(optimizer->prepare(p, 0, id).message, testing::HasSubstr("fp16"));
  p = random_parameter("w", {4, 16}, at::kBFloat16, 11);
  p.dense[1][2] = std::numeric_limits<float>::infinity();
  EXPECT_EQ(optimizer->prepare(p, 0, id).code, StatusCode::numerics);
  p = random_parameter("w", {4, 16}, at::kBFloat16, 11);
  expect_ok(optimizer->prepare(p, 0, id));
  Parameter again = random_parameter("w", {4, 16}, at::kBFloat16, 11);
  EXPECT_FALSE(optimizer->prepare(again, 0, id).ok());

  const auto before = stored_bits(p);
  StepFactors factors;
  factors.lr = 1;
  UpdateItem item;
  item.state = id;
  EXPECT_FALSE(optimizer->update({&item, 1}, factors).ok());  // no gradient
  item.gradient.dense = at::ones({16, 4});
  EXPECT_FALSE(optimizer->update({&item, 1}, factors).ok());
  item.gradient.dense = at::ones({4, 16});
  const std::vector<UpdateItem> twice = {item, item};
  EXPECT_FALSE(optimizer->update(twice, factors).ok());
  factors.step = 0;
  EXPECT_FALSE(optimizer->update({&item, 1}, factors).ok());
  EXPECT_TRUE(same(stored_bits(p), before));
  EXPECT_EQ(p.version, 0U);
}

TEST(OptimAdamW, ProofSaysWhatMoved) {
  Parameter p = random_parameter("w", {10, 10}, at::kFloat, 12);
  auto optimizer = ready(adamw_options());
  StateId id = -1;
  expect_ok(optimizer->prepare(p, kDecay, id));
  const at::Tensor before = values_of(p);
  at::Tensor g = at::zeros({10, 10});
  g.narrow(0, 0, 3).fill_(1.0);
  step(*optimizer, id, g, 1, kLr, {}, {}, true);
  UpdateProof proof;
  expect_ok(optimizer->proof(id, proof));
  EXPECT_EQ(proof.step, 1);
  EXPECT_NEAR(proof.state_moved, 0.3, 1e-12);
  EXPECT_NEAR(proof.decay_part, kLr * kDecay, 1e-12);
  EXPECT_NEAR(proof.relative_change,
              values_of(p).sub(before).norm().item<double>() / before.norm().item<double>(), 1e-6);
  EXPECT_GT(proof.weights_changed, 0.9);
}

}  // namespace
}  // namespace tetrad::test

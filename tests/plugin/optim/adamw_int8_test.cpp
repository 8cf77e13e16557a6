// optim-adamw-int8: the maps against torchao's, nearest codes against a search, one step against fp32, saved
// state, threads, stop words, bytes.
#include <gmock/gmock.h>

#include <cmath>
#include <limits>
#include <random>

#include "optim_adamw_int8.h"
#include "optim_rig.h"

namespace tetrad::test {
namespace {

using optim_adamw_int8::dynamic_map;
using optim_adamw_int8::DynamicMap;
using optim_adamw_int8::OptimAdamWInt8;

Options int8_options(const std::string& rounding = "stochastic", const std::string& gradient = "bf16") {
  return Options({{"rounding", rounding},
                  {"gradient", gradient},
                  {"beta1", 0.9},
                  {"beta2", 0.95},
                  {"eps", 1e-8},
                  {"offload", std::string("none")}});
}

std::unique_ptr<OptimAdamWInt8> ready(const std::string& rounding = "stochastic") {
  auto optimizer = std::make_unique<OptimAdamWInt8>(int8_options(rounding));
  OptimizerSetup setup;
  setup.seed = 5;
  expect_ok(optimizer->configure(setup));
  return optimizer;
}

// Values that torchao 0.18's create_dynamic_map gives, which computes in fp32 throughout.
TEST(OptimAdamWInt8, MapsAreTorchaos) {
  const std::pair<int, float> with_sign[] = {
      {0, -0.992968738F},      {1, -0.978906274F},  {63, -0.107031256F},    {100, -0.00746874977F},
      {126, -5.50000038e-07F}, {127, 0.0F},         {128, 5.50000038e-07F}, {129, 3.25000019e-06F},
      {150, 0.00521875033F},   {200, 0.233593747F}, {254, 0.992968738F},    {255, 1.0F}};
  const std::pair<int, float> without[] = {{0, 0.0F},
                                           {1, 3.25000030e-07F},
                                           {63, 0.010703126F},
                                           {100, 0.0627343804F},
                                           {126, 0.0992968753F},
                                           {127, 0.103515625F},
                                           {150, 0.265234381F},
                                           {200, 0.616796851F},
                                           {254, 0.996484399F},
                                           {255, 1.0F}};
  const DynamicMap a = dynamic_map(true), b = dynamic_map(false);
  for (const auto& [code, value] : with_sign)
    EXPECT_NEAR(a[static_cast<std::size_t>(code)], value, std::fabs(value) * 3e-7F) << code;
  for (const auto& [code, value] : without)
    EXPECT_NEAR(b[static_cast<std::size_t>(code)], value, value * 3e-7F) << code;
  for (std::size_t i = 1; i < 256; ++i) {
    EXPECT_LT(a[i - 1], a[i]);
    EXPECT_LT(b[i - 1], b[i]);
  }
}

TEST(OptimAdamWInt8, CodesAreTheNearest) {
  std::mt19937 random(1);
  std::uniform_real_distribution<float> uniform(-1.05F, 1.05F);
  for (const bool with_sign : {true, false}) {
    const DynamicMap map = dynamic_map(with_sign);
    for (int i = 0; i < 20000; ++i) {
      const float x = uniform(random) * std::pow(10.0F, -static_cast<float>(i % 8));
      const std::uint8_t code = optim_adamw_int8::nearest_code(map.data(), x);
      float best = std::numeric_limits<float>::infinity();
      for (const float value : map) best = std::min(best, std::fabs(value - x));
      ASSERT_EQ(std::fabs(map[code] - x), best) << x;
    }
  }
}

TEST(OptimAdamWInt8, FollowsFp32AdamW) {
  Parameter p = random_parameter("w", {64, 80}, at::kFloat, 2);
  auto optimizer = ready();
  StateId id = -1;
  expect_ok(optimizer->prepare(p, 0.1, id));
  StorageTable table, forecast;
  expect_ok(optimizer->describe(id, table));
  expect_ok(optimizer->forecast(p.shape, p.role, p.format, forecast));
  EXPECT_EQ(table.m.bytes, 64 * 80 + 20 * 4);
  EXPECT_EQ(forecast.state_bytes(), table.state_bytes());
  EXPECT_EQ(optimizer->memory().device_bytes, table.state_bytes());
  at::Tensor w = p.dense.to(at::kDouble), m = at::zeros_like(w), v = at::zeros_like(w);
  const at::Tensor start = w.clone();
  for (int i = 1; i <= 30; ++i) {
    const at::Tensor g = at::randn({64, 80}).add_(0.3);
    step(*optimizer, id, g, i, 1e-3);
    m.mul_(0.9).add_(g, 0.1);
    v.mul_(0.95).add_(g.to(at::kDouble).square(), 0.05);
    w.mul_(1 - 1e-4).sub_(m.div(1 - std::pow(0.9, i)).div_(v.div(1 - std::pow(0.95, i)).sqrt_().add_(1e-8)),
                          1e-3);
  }
  const at::Tensor expected = w.sub(start), error = p.dense.to(at::kDouble).sub(w);
  EXPECT_LT(error.norm().item<double>(), 0.03 * expected.norm().item<double>());
  EXPECT_GT(error.norm().item<double>(), 1e-6 * expected.norm().item<double>());
}

TEST(OptimAdamWInt8, SmallAndOneDimensionalParametersStayFp32) {
  auto optimizer = ready();
  Parameter norm = random_parameter("n", {5000}, at::kBFloat16, 3),
            small = random_parameter("s", {63, 65}, at::kBFloat16, 4),
            odd = random_parameter("o", {61, 77}, at::kBFloat16, 5);
  StateId id = -1;
  StorageTable table;
  expect_ok(optimizer->prepare(norm, 0, id));
  expect_ok(optimizer->describe(id, table));
  EXPECT_EQ(table.m.format, "fp32");
  expect_ok(optimizer->prepare(small, 0, id));
  expect_ok(optimizer->describe(id, table));
  EXPECT_EQ(table.m.format, "fp32");
  expect_ok(optimizer->prepare(odd, 0, id));
  expect_ok(optimizer->describe(id, table));
  EXPECT_EQ(table.m.format, "int8");
  EXPECT_EQ(table.m.bytes, 61 * 77 + 19 * 4);
}

TEST(OptimAdamWInt8, SavedStateThreadsAndLearningRateZero) {
  const int threads = at::get_num_threads();
  const auto run = [](int n, bool interrupted, double lr) {
    at::set_num_threads(n);
    Parameter p = random_parameter("w", {70, 90}, at::kBFloat16, 6);
    auto optimizer = ready();
    StateId id = -1;
    expect_ok(optimizer->prepare(p, 0.1, id));
    at::manual_seed(9);
    for (int i = 1; i <= 6; ++i) {
      step(*optimizer, id, at::randn({70, 90}), i, lr);
      if (!interrupted || i != 3) continue;
      std::vector<NamedTensor> saved;
      expect_ok(optimizer->state(id, saved));
      for (NamedTensor& each : saved) each.tensor = each.tensor.clone();
      optimizer = ready();
      expect_ok(optimizer->prepare(p, 0.1, id));
      expect_ok(optimizer->restore(id, saved));
    }
    auto bits = stored_bits(p);
    for (at::Tensor& t : state_bits(*optimizer, id)) bits.push_back(t);
    return bits;
  };
  const auto one = run(1, false, 1e-3);
  EXPECT_TRUE(same(one, run(2, false, 1e-3)));
  EXPECT_TRUE(same(one, run(3, true, 1e-3)));
  EXPECT_TRUE(at::equal(run(1, false, 0.0)[0], random_parameter("w", {70, 90}, at::kBFloat16, 6).dense));
  EXPECT_FALSE(at::equal(one[0], random_parameter("w", {70, 90}, at::kBFloat16, 6).dense));
  at::set_num_threads(threads);
}

TEST(OptimAdamWInt8, StopWordsAndRefusals) {
  auto optimizer = ready();
  Parameter p = random_parameter("w", {64, 80}, at::kFloat, 7);
  StateId id = -1;
  expect_ok(optimizer->prepare(p, 0.1, id));
  const at::Tensor before = p.dense.clone(), stop = at::ones({1}, at::kInt);
  step(*optimizer, id, at::ones({64, 80}), 1, 1e-3, {}, stop);
  EXPECT_TRUE(at::equal(p.dense, before));
  stop.zero_();
  at::Tensor g = at::ones({64, 80});
  g[63][79] = std::numeric_limits<float>::quiet_NaN();
  step(*optimizer, id, g, 1, 1e-3, {}, stop);
  EXPECT_EQ(stop.item<int>(), id + 1);
  EXPECT_EQ(p.dense[63][79].item<float>(), before[63][79].item<float>());
  EXPECT_TRUE(p.dense.isfinite().all().item<bool>());
  Parameter half = random_parameter("h", {64, 80}, at::kHalf, 8);
  EXPECT_THAT(optimizer->prepare(half, 0, id).message, testing::HasSubstr("fp16"));
}

}  // namespace
}  // namespace tetrad::test

// Clipping by update_rms: the figure is that of its formula, in double, out of the state as it is stored, for
// each optimizer and each form of a gradient; what is limited is the update with the gradient scaled by hand.
#include <gmock/gmock.h>

#include <cmath>
#include <functional>
#include <limits>

#include "optim_adamw.h"
#include "optim_adamw_int8.h"
#include "optim_adamw_nvfp4.h"
#include "optim_rig.h"

namespace tetrad::test {
namespace {

struct Kind {
  const char* name;
  std::function<std::unique_ptr<Optimizer>()> make;
};

Options int8_options() {
  return Options({{"rounding", std::string("stochastic")},
                  {"gradient", std::string("fp32")},
                  {"beta1", 0.9},
                  {"beta2", 0.95},
                  {"eps", 1e-8},
                  {"offload", std::string("none")}});
}

const std::vector<Kind>& kinds() {
  static const std::vector<Kind> all = {
      {"adamw", [] { return std::make_unique<optim_adamw::OptimAdamW>(adamw_options()); }},
      {"int8", [] { return std::make_unique<optim_adamw_int8::OptimAdamWInt8>(int8_options()); }},
      {"nvfp4", [] { return std::make_unique<optim_adamw_nvfp4::OptimAdamWNvfp4>(nvfp4_options()); }},
      {"nvfp4 literal",
       [] { return std::make_unique<optim_adamw_nvfp4::OptimAdamWNvfp4>(nvfp4_options(3, true)); }}};
  return all;
}

struct One {
  Parameter parameter;
  std::unique_ptr<Optimizer> optimizer;
  StateId id = -1;

  One(const Kind& kind, std::vector<std::int64_t> shape)
      : parameter(random_parameter("w", std::move(shape), at::kFloat, 3)), optimizer(kind.make()) {
    OptimizerSetup setup;
    setup.seed = 7;
    expect_ok(optimizer->configure(setup));
    expect_ok(optimizer->prepare(parameter, 0.1, id));
  }
  // The root mean square as the optimizer measured it.
  double update(const at::Tensor& gradient, std::int64_t step, double most, const at::Tensor& scale = {},
                const at::Tensor& stop = {}) {
    UpdateItem item;
    item.state = id;
    item.gradient.dense = gradient;
    item.update_rms = at::full({1}, -1.0F);
    StepFactors factors;
    factors.step = step;
    factors.lr = 1e-3;
    factors.scale = scale;
    factors.stop = stop;
    factors.max_update_rms = most;
    expect_ok(optimizer->update({&item, 1}, factors));
    return item.update_rms.item<double>();
  }
};

TEST(UpdateRms, IsItsFormula) {
  for (const Kind& kind : kinds()) {
    // 3000 x 1100 elements take more than one strip.
    for (const auto& shape : std::vector<std::vector<std::int64_t>>{{50}, {130, 40}, {3000, 1100}}) {
      One one(kind, shape);
      // v exactly known: after one step it is (1 - beta2) g^2 in each format's own rounding, so the formula
      // is tested on the state that is really there: a second object whose gradient is 0 in the next step and
      // whose rms is then 0, and one whose gradient meets no state at all.
      const at::Tensor g = at::randn(shape);
      EXPECT_NEAR(one.update(g, 1, 1e9), 1.0, 1e-3) << kind.name << ": the first gradient is its own measure";
      EXPECT_EQ(one.update(at::zeros(shape), 2, 1e9), 0.0) << kind.name;
    }
    One one(kind, {130, 40});
    at::Tensor v = at::zeros({130, 40}, at::kDouble);
    for (int i = 1; i <= 12; ++i) {
      const at::Tensor g = at::randn({130, 40}).mul_(i == 9 ? 10.0 : 1.0), scale = at::full({1}, 0.5F);
      const at::Tensor square = g.to(at::kDouble).mul(0.5).square();
      v.mul_(0.95).add_(square, 0.05);
      const double expected = square.div(v.div(1 - std::pow(0.95, i))).mean().sqrt().item<double>();
      // Four bits of sqrt(v) are known to a few percent each; over 5,200 elements less is left of it.
      const double share = std::string(kind.name) == "adamw" ? 1e-5 : 0.06;
      const double rms = one.update(g, i, 1e9, scale);
      EXPECT_NEAR(rms, expected, share * expected) << kind.name << " step " << i;
      EXPECT_EQ(rms > 2.0, i == 9) << kind.name << " step " << i << ": " << rms;
    }
  }
}

TEST(UpdateRms, ALimitedUpdateIsThatOfTheScaledGradient) {
  for (const Kind& kind : kinds()) {
    One limited(kind, {67, 50}), by_hand(kind, {67, 50});
    for (int i = 1; i <= 6; ++i) {
      const at::Tensor g = at::randn({67, 50}).mul_(i == 5 ? 30.0 : 1.0);
      const double rms = limited.update(g, i, 1.25);
      EXPECT_EQ(rms > 1.25, i == 5) << kind.name << " step " << i << ": " << rms;
      const auto factor = at::clamp_max(at::reciprocal(at::full({1}, rms, at::kFloat)).mul_(1.25), 1.0);
      step(*by_hand.optimizer, by_hand.id, g, i, 1e-3, factor);
      EXPECT_TRUE(same(stored_bits(limited.parameter), stored_bits(by_hand.parameter)))
          << kind.name << " step " << i;
      EXPECT_TRUE(same(state_bits(*limited.optimizer, 0), state_bits(*by_hand.optimizer, 0))) << kind.name;
    }
  }
}

TEST(UpdateRms, AGradientThatIsNotFiniteStopsTheStepAndChangesNothing) {
  for (const Kind& kind : kinds()) {
    One one(kind, {67, 50});
    one.update(at::randn({67, 50}), 1, 1.0);
    const auto before = stored_bits(one.parameter);
    at::Tensor g = at::randn({67, 50}), stop = at::zeros({1}, at::kInt);
    g.view({-1})[100].fill_(std::numeric_limits<float>::infinity());
    const double rms = one.update(g, 2, 1.0, {}, stop);
    EXPECT_FALSE(std::isfinite(rms)) << kind.name;
    EXPECT_EQ(stop.item<int>(), 1) << kind.name;
    EXPECT_TRUE(same(before, stored_bits(one.parameter))) << kind.name;
  }
}

TEST(UpdateRms, GradientsInPlanesAreMeasuredAsTheyDecode) {
  const Kind& kind = kinds()[2];
  One planes(kind, {70, 48}), dense(kind, {70, 48});
  for (int i = 1; i <= 3; ++i) {
    UpdateItem item;
    item.state = 0;
    item.gradient.planes.codes = at::randint(0, 256, {70, 24}, at::kByte);
    item.gradient.planes.scales = at::randint(0x20, 0x50, {70, 3}, at::kByte);
    item.gradient.planes.decode_scale = 0.25F;
    item.update_rms = at::zeros({1});
    const at::Tensor g =
        optim::decode_plane(item.gradient.planes.codes, item.gradient.planes.scales).mul(0.25);
    StepFactors factors;
    factors.step = i;
    factors.lr = 1e-3;
    factors.max_update_rms = 100.0;
    expect_ok(planes.optimizer->update({&item, 1}, factors));
    const double expected = dense.update(g, i, 100.0);
    EXPECT_NEAR(item.update_rms.item<double>(), expected, 1e-5 * expected);
    item.gradient.decode_scale = at::full({1}, 0.25F);
    item.gradient.planes.decode_scale = 99.0F;  // the device's own replaces it
    One other(kind, {70, 48});
    factors.step = 1;
    if (i > 1) continue;
    expect_ok(other.optimizer->update({&item, 1}, factors));
    EXPECT_NEAR(item.update_rms.item<double>(), expected, 1e-5 * expected);
  }
}

TEST(UpdateRms, AnItemWithoutAPlaceIsRefused) {
  One one(kinds()[0], {5, 8});
  UpdateItem item;
  item.state = 0;
  item.gradient.dense = at::ones({5, 8});
  StepFactors factors;
  factors.max_update_rms = 1.0;
  EXPECT_THAT(one.optimizer->update({&item, 1}, factors).message, ::testing::HasSubstr("update_rms"));
  factors.max_update_rms = -1.0;
  item.update_rms = at::zeros({1});
  EXPECT_FALSE(one.optimizer->update({&item, 1}, factors).ok());
}

}  // namespace
}  // namespace tetrad::test

// optim-adamw-nvfp4 as a plugin object: conversion of weights, no drift, gradients of both kinds, stop words,
// saved state, threads, bytes.
#include <gmock/gmock.h>
#include <tetrad/nvfp4/codec.h>

#include <limits>

#include "optim_adamw_nvfp4.h"
#include "optim_rig.h"

namespace tetrad::test {
namespace {

using optim_adamw_nvfp4::OptimAdamWNvfp4;

constexpr double kLr = 1e-3, kDecay = 0.1;

std::unique_ptr<OptimAdamWNvfp4> ready(std::int64_t planes = 2, bool literal = false,
                                       std::uint64_t seed = 7) {
  auto optimizer = std::make_unique<OptimAdamWNvfp4>(nvfp4_options(planes, literal));
  OptimizerSetup setup;
  setup.seed = seed;
  expect_ok(optimizer->configure(setup));
  return optimizer;
}

// A gradient as a sink stores it.
Planes planes_of(const at::Tensor& g) {
  const optim::Extent extent = optim::extent_of({g.sizes().data(), g.sizes().size()});
  const std::int64_t padded = nvfp4::packed_cols(extent.cols);
  Planes planes;
  planes.codes = at::empty({extent.rows, padded / 2}, at::kByte);
  planes.scales = at::empty({extent.rows, padded / 16}, at::kByte);
  const auto global = nvfp4::power_of_two_scale(g.abs().max().item<float>());
  nvfp4::quantize(g.const_data_ptr<float>(), extent.rows, extent.cols, extent.cols, global, {},
                  planes.codes.mutable_data_ptr<std::uint8_t>(),
                  planes.scales.mutable_data_ptr<std::uint8_t>());
  planes.decode_scale = global.decode;
  return planes;
}

void step_planes(Optimizer& optimizer, StateId id, const Planes& planes, std::int64_t number, double lr,
                 const at::Tensor& stop = {}, const at::Tensor& decode_scale = {}) {
  UpdateItem item;
  item.state = id;
  item.gradient.planes = planes;
  item.gradient.decode_scale = decode_scale;
  StepFactors factors;
  factors.step = number;
  factors.lr = lr;
  factors.stop = stop;
  expect_ok(optimizer.update({&item, 1}, factors));
}

TEST(OptimAdamWNvfp4, ConvertsWeightsCloselyAndKeepsNoDenseCopy) {
  const double bound[] = {0.11, 0.016, 0.004};
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16, at::kHalf}) {
    for (std::int64_t planes = 1; planes <= 3; ++planes) {
      Parameter p = random_parameter("w", {33, 77}, type, 1);
      const at::Tensor before = p.dense.to(at::kFloat).clone();
      auto optimizer = ready(planes);
      StateId id = -1;
      expect_ok(optimizer->prepare(p, kDecay, id));
      EXPECT_FALSE(p.dense.defined());
      EXPECT_EQ(optim::plane_count(p.format), planes);
      EXPECT_EQ(p.version, 1U);
      EXPECT_TRUE(nvfp4::is_power_of_two(p.planes.decode_scale));
      EXPECT_LE(p.planes.scales.max().item<int>(), 0x76);  // room to double
      const double error = values_of(p).sub(before).norm().item<double>() / before.norm().item<double>();
      EXPECT_LT(error, bound[planes - 1]);
      EXPECT_GT(error, bound[planes - 1] / 20);
      StorageTable table, forecast;
      expect_ok(optimizer->describe(id, table));
      expect_ok(optimizer->forecast(p.shape, p.role, Format::bf16, forecast));
      const std::int64_t plane = 33 * 80 / 2, scales = 33 * 5;
      EXPECT_EQ(table.w.bytes, planes * plane + scales);
      EXPECT_EQ(table.m.bytes, plane + scales);
      EXPECT_EQ(table.v.bytes, plane + scales);
      EXPECT_EQ(table.grad.bytes, plane + scales);
      EXPECT_EQ(table.master.bytes, 0);
      EXPECT_EQ(table.gradient, GradientFormat::nvfp4);
      EXPECT_EQ(forecast.w.bytes, table.w.bytes);
      EXPECT_EQ(forecast.state_bytes(), table.state_bytes());
    }
  }
}

TEST(OptimAdamWNvfp4, PlanesThatAreThereKeepTheirValues) {
  Parameter p = random_parameter("w", {8, 40}, at::kFloat, 2);
  p.planes = planes_of(p.dense);
  p.dense = at::Tensor();
  p.format = Format::nvfp4_hi;
  for (const float foreign : {1.0F, 0.37F}) {
    Parameter q = p;
    q.planes.decode_scale *= foreign;
    q.planes.scales = p.planes.scales.clone();
    const at::Tensor before = values_of(q);
    auto optimizer = ready(2);
    StateId id = -1;
    expect_ok(optimizer->prepare(q, kDecay, id));
    EXPECT_EQ(q.format, Format::nvfp4_hi_lo);
    EXPECT_TRUE(at::equal(values_of(q), before));
    Parameter again = q;
    const auto bits = stored_bits(again);
    auto other = ready(2);
    expect_ok(other->prepare(again, kDecay, id));
    EXPECT_TRUE(same(stored_bits(again), bits));
    EXPECT_EQ(again.version, q.version);
    auto one = ready(1);
    EXPECT_THAT(one->prepare(q, kDecay, id).message, testing::HasSubstr("planes: 2"));
  }
}

TEST(OptimAdamWNvfp4, AThousandStepsWithoutALearningRateChangeNothing) {
  for (std::int64_t planes = 1; planes <= 3; ++planes) {
    Parameter p = random_parameter("w", {5, 37}, at::kBFloat16, 3);
    p.dense.narrow(0, 2, 1).mul_(1e-4);
    p.dense.narrow(0, 3, 1).zero_();
    auto optimizer = ready(planes);
    StateId id = -1;
    expect_ok(optimizer->prepare(p, kDecay, id));
    const at::Tensor before = values_of(p);
    for (int i = 1; i <= 1000; ++i)
      step(*optimizer, id, at::randn({5, 37}).mul_(std::pow(10.0, i % 7 - 3)), i, 0.0);
    EXPECT_TRUE(at::equal(values_of(p), before)) << planes;
    EXPECT_EQ(p.version, 1001U);
  }
}

TEST(OptimAdamWNvfp4, DenseAndPlaneGradientsOfOneValueDoTheSame) {
  Parameter p = random_parameter("w", {12, 45}, at::kFloat, 4), q = p;
  auto one = ready(), two = ready();
  StateId a = -1, b = -1;
  expect_ok(one->prepare(p, kDecay, a));
  expect_ok(two->prepare(q, kDecay, b));
  for (int i = 1; i <= 30; ++i) {
    const at::Tensor g = at::randn({12, 45}).mul_(0.01 * i);
    Planes planes = planes_of(g);
    const at::Tensor dense = optim::decode_plane(planes.codes, planes.scales)
                                 .mul_(planes.decode_scale)
                                 .narrow(1, 0, 45)
                                 .contiguous();
    const at::Tensor scale = at::full({1}, planes.decode_scale);
    if (i % 2 == 0) planes.decode_scale = 123.0F;  // the one on the device counts
    step_planes(*one, a, planes, i, kLr, {}, i % 2 == 0 ? scale : at::Tensor());
    step(*two, b, dense, i, kLr);
  }
  EXPECT_TRUE(same(stored_bits(p), stored_bits(q)));
  const at::Tensor bf16 = at::randn({12, 45}).to(at::kBFloat16);
  step(*one, a, bf16, 31, kLr, at::full({1}, 0.5F));
  step(*two, b, bf16.to(at::kFloat).mul(0.5), 31, kLr);
  EXPECT_TRUE(same(stored_bits(p), stored_bits(q)));
}

TEST(OptimAdamWNvfp4, FollowsFp32AdamWForAWhile) {
  Parameter p = random_parameter("w", {32, 64}, at::kFloat, 5);
  auto optimizer = ready(3);
  StateId id = -1;
  expect_ok(optimizer->prepare(p, 0.0, id));
  const at::Tensor start = values_of(p);
  at::Tensor w = start.clone().to(at::kDouble), m = at::zeros_like(w), v = at::zeros_like(w);
  for (int i = 1; i <= 40; ++i) {
    const at::Tensor g = at::randn({32, 64}).add_(0.5);
    step(*optimizer, id, g, i, kLr);
    m.mul_(0.9).add_(g, 0.1);
    v.mul_(0.95).add_(g.to(at::kDouble).square(), 0.05);
    w.sub_(m.div(1 - std::pow(0.9, i)).div_(v.div(1 - std::pow(0.95, i)).sqrt_().add_(1e-8)), kLr);
  }
  const at::Tensor moved = values_of(p).to(at::kDouble).sub(start), expected = w.sub(start);
  EXPECT_NEAR(moved.mean().item<double>() / expected.mean().item<double>(), 1.0, 0.06);
  const double cosine = moved.mul(expected).sum().item<double>() /
                        (moved.norm().item<double>() * expected.norm().item<double>());
  EXPECT_GT(cosine, 0.97);
}

TEST(OptimAdamWNvfp4, VectorsAreFp32UnlessLiteral) {
  Parameter p = random_parameter("norm", {50}, at::kBFloat16, 6, 1.0), q = p;
  q.dense = p.dense.clone();
  auto plain = ready(), literal = ready(2, true);
  StateId id = -1;
  expect_ok(plain->prepare(p, 0, id));
  EXPECT_EQ(p.format, Format::fp32);
  EXPECT_EQ(p.dense.scalar_type(), at::kFloat);
  StorageTable table;
  expect_ok(plain->describe(id, table));
  EXPECT_EQ(table.grad.format, "fp32");
  EXPECT_EQ(table.state_bytes(), 50 * 8);
  expect_ok(literal->prepare(q, 0, id));
  EXPECT_EQ(q.format, Format::nvfp4_hi_lo);
  EXPECT_EQ(q.planes.codes.sizes(), at::IntArrayRef({1, 32}));
  step(*literal, id, at::randn({50}), 1, kLr);
  EXPECT_NE(plain->state_format(), literal->state_format());
}

TEST(OptimAdamWNvfp4, NonFiniteGradientsAndStopWords) {
  Parameter p = random_parameter("w", {6, 32}, at::kFloat, 7);
  auto optimizer = ready();
  StateId id = -1;
  expect_ok(optimizer->prepare(p, kDecay, id));
  step(*optimizer, id, at::randn({6, 32}), 1, kLr);
  const auto bits = stored_bits(p), state = state_bits(*optimizer, id);
  const at::Tensor stop = at::ones({1}, at::kInt);
  step(*optimizer, id, at::randn({6, 32}), 2, kLr, {}, stop);
  EXPECT_TRUE(same(stored_bits(p), bits));
  EXPECT_TRUE(same(state_bits(*optimizer, id), state));
  EXPECT_EQ(stop.item<int>(), 1);
  stop.zero_();

  Planes planes = planes_of(at::randn({6, 32}));
  planes.scales[3][1].fill_(0x7F);  // the sink met a NaN here
  step_planes(*optimizer, id, planes, 2, kLr, stop);
  EXPECT_EQ(stop.item<int>(), id + 1);
  EXPECT_TRUE(at::equal(p.planes.codes[3].narrow(0, 8, 8), bits[0][3].narrow(0, 8, 8)));
  EXPECT_TRUE(at::equal(p.planes.lo_codes[3].narrow(0, 8, 8), bits[2][3].narrow(0, 8, 8)));
  EXPECT_TRUE(values_of(p).isfinite().all().item<bool>());
  stop.zero_();
  at::Tensor g = at::randn({6, 32});
  g[5][31] = -std::numeric_limits<float>::infinity();
  step(*optimizer, id, g, 3, kLr, {}, stop);
  EXPECT_EQ(stop.item<int>(), id + 1);
  EXPECT_TRUE(values_of(p).isfinite().all().item<bool>());
}

TEST(OptimAdamWNvfp4, SavedStateContinuesToTheSameBits) {
  for (std::int64_t planes = 1; planes <= 3; ++planes) {
    Parameter p = random_parameter("w", {9, 50}, at::kBFloat16, 8);
    auto optimizer = ready(planes);
    StateId id = -1;
    expect_ok(optimizer->prepare(p, kDecay, id));
    std::vector<at::Tensor> gradients;
    for (int i = 0; i < 15; ++i) gradients.push_back(at::randn({9, 50}).mul_(1 + i % 4));
    for (int i = 1; i <= 7; ++i) step(*optimizer, id, gradients[i - 1], i, 0.01);
    Parameter copy = p;
    const auto bits = stored_bits(p), copies = stored_bits(p);
    copy.planes.codes = copies[0];
    copy.planes.scales = copies[1];
    if (planes > 1) copy.planes.lo_codes = copies[2];
    if (planes > 2) copy.planes.lo2_codes = copies[3];
    std::vector<NamedTensor> saved;
    expect_ok(optimizer->state(id, saved));
    for (NamedTensor& each : saved) each.tensor = each.tensor.clone();
    auto resumed = ready(planes);
    StateId id2 = -1;
    expect_ok(resumed->prepare(copy, kDecay, id2));
    expect_ok(resumed->restore(id2, saved));
    for (int i = 8; i <= 15; ++i) {
      step(*optimizer, id, gradients[i - 1], i, 0.01);
      step(*resumed, id2, gradients[i - 1], i, 0.01);
    }
    EXPECT_TRUE(same(stored_bits(p), stored_bits(copy)));
    EXPECT_TRUE(same(state_bits(*optimizer, id), state_bits(*resumed, id2)));
    // It moved: the comparison can fail.
    EXPECT_FALSE(same(stored_bits(p), bits));
  }
}

TEST(OptimAdamWNvfp4, ThreadsDoNotMatterSeedsAndNamesDo) {
  const int threads = at::get_num_threads();
  const auto run = [](int n, std::uint64_t seed, const std::string& name) {
    at::set_num_threads(n);
    Parameter p = random_parameter(name, {120, 160}, at::kBFloat16, 9);
    auto optimizer = ready(2, false, seed);
    StateId id = -1;
    expect_ok(optimizer->prepare(p, kDecay, id));
    at::manual_seed(3);
    for (int i = 1; i <= 3; ++i) step(*optimizer, id, at::randn({120, 160}), i, kLr);
    auto bits = stored_bits(p);
    for (at::Tensor& t : state_bits(*optimizer, id)) bits.push_back(t);
    return bits;
  };
  const auto one = run(1, 7, "w");
  EXPECT_TRUE(same(one, run(2, 7, "w")));
  EXPECT_TRUE(same(one, run(3, 7, "w")));
  EXPECT_FALSE(same(one, run(2, 8, "w")));
  EXPECT_FALSE(same(one, run(2, 7, "x")));
  at::set_num_threads(threads);
}

TEST(OptimAdamWNvfp4, ProofCountsCodes) {
  Parameter p = random_parameter("w", {16, 64}, at::kFloat, 10);
  auto optimizer = ready();
  StateId id = -1;
  expect_ok(optimizer->prepare(p, kDecay, id));
  UpdateProof proof;
  step(*optimizer, id, at::randn({16, 64}), 1, 0.0, {}, {}, true);
  expect_ok(optimizer->proof(id, proof));
  EXPECT_EQ(proof.weights_changed, 0.0);
  EXPECT_EQ(proof.relative_change, 0.0);
  EXPECT_GT(proof.state_moved, 0.8);
  const at::Tensor before = values_of(p);
  step(*optimizer, id, at::randn({16, 64}), 2, kLr, {}, {}, true);
  expect_ok(optimizer->proof(id, proof));
  EXPECT_GT(proof.weights_changed, 0.3);
  EXPECT_LE(proof.weights_changed, 1.0);
  EXPECT_NEAR(proof.relative_change,
              values_of(p).sub(before).norm().item<double>() / before.norm().item<double>(), 1e-5);
}

TEST(OptimAdamWNvfp4, RefusesWhatItCannotStore) {
  auto optimizer = ready();
  StateId id = -1;
  Parameter p = random_parameter("w", {4, 16}, at::kFloat, 11);
  p.dense[0][0] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(optimizer->prepare(p, 0, id).code, StatusCode::numerics);
  EXPECT_TRUE(p.dense.defined());
  Parameter deep = random_parameter("c", {4, 16, 2}, at::kFloat, 11);
  EXPECT_EQ(optimizer->prepare(deep, 0, id).code, StatusCode::unsupported);
  Parameter opaque = random_parameter("o", {4, 16}, at::kFloat, 11);
  opaque.format = Format::opaque;
  EXPECT_EQ(optimizer->prepare(opaque, 0, id).code, StatusCode::unsupported);
  Parameter planes = random_parameter("p", {4, 16}, at::kFloat, 11);
  planes.planes = planes_of(planes.dense);
  planes.dense = at::Tensor();
  planes.format = Format::nvfp4_hi;
  planes.planes.scales[1][0].fill_(0x7F);
  EXPECT_EQ(optimizer->prepare(planes, 0, id).code, StatusCode::numerics);
  EXPECT_EQ(OptimAdamWNvfp4(nvfp4_options(1)).capability({}).support, Support::native);
  EXPECT_THROW(OptimAdamWNvfp4(nvfp4_options(4)), StatusError);
}

}  // namespace
}  // namespace tetrad::test

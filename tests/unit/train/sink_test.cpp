// The gradient sink: contributions, sums, norm, formats, and what it does with a gradient that is not finite.
#include <ATen/Functions.h>
#include <gtest/gtest.h>
#include <tetrad/base/error.h>
#include <tetrad/nvfp4/codec.h>

#include <cmath>
#include <limits>

#include "support/error_text.h"
#include "train/sink/gradient_codec.h"
#include "train/sink/gradient_sink.h"

namespace tetrad::train {
namespace {

at::Tensor random(at::IntArrayRef shape, at::ScalarType dtype = at::kFloat) {
  return at::randn(shape, at::TensorOptions().dtype(at::kFloat)).to(dtype);
}

at::Tensor decoded(const Gradient& g, at::IntArrayRef shape) {
  if (g.dense.defined()) return g.dense.to(at::kFloat);
  const std::int64_t cols = shape.back(), rows = g.planes.codes.size(0);
  at::Tensor out = at::empty({rows, cols});
  nvfp4::dequantize(static_cast<const std::uint8_t*>(g.planes.codes.const_data_ptr()),
                    static_cast<const std::uint8_t*>(g.planes.scales.const_data_ptr()), g.planes.decode_scale,
                    rows, cols, out.mutable_data_ptr<float>());
  return out.view(shape);
}

class Sink : public ::testing::Test {
 protected:
  void SetUp() override {
    at::manual_seed(5);
    add("model.embed_tokens.weight", {10, 24}, 2);
    add("a.weight", {7, 40}, 1);
    add("norm.weight", {24}, 1);
  }
  void add(const char* name, std::vector<std::int64_t> shape, int contributions) {
    Parameter& p = parameters.emplace_back();
    p.name = name;
    p.shape = std::move(shape);
    p.gradient_contributions = contributions;
    formats[&p] = p.shape.size() == 1 ? GradientFormat::fp32 : GradientFormat::nvfp4;
  }
  GradientSink make(SinkOptions options = {}) {
    options.dtype = at::kFloat;
    return {parameters, formats, options};
  }
  // One backward pass; the sums of what was given.
  void feed(GradientSink& sink, std::vector<at::Tensor>& sums) {
    const at::Tensor head = random({10, 24}), rows = random({2, 24}), dw = random({7, 40}),
                     norm = random({24});
    const at::Tensor ids = at::tensor({1, 8}, at::kLong);
    at::Tensor embedding = head.clone();
    embedding.index_add_(0, ids, rows);
    sink.add(parameters[0], head.clone());
    sink.add(parameters[1], dw.clone());
    sink.add(parameters[2], norm.clone());
    sink.add_rows(parameters[0], ids, rows);
    const std::vector<at::Tensor> now = {embedding, dw, norm};
    for (std::size_t i = 0; i < 3; ++i) sums[i] = sums[i].defined() ? sums[i].add(now[i]) : now[i];
  }

  std::deque<Parameter> parameters;
  std::unordered_map<const Parameter*, GradientFormat> formats;
};

double norm_of(const std::vector<at::Tensor>& tensors) {
  double squares = 0.0;
  for (const at::Tensor& t : tensors) squares += std::pow(t.to(at::kDouble).norm().item<double>(), 2);
  return std::sqrt(squares);
}

TEST_F(Sink, NormIsOfWhatCameAndStorageIsNvfp4) {
  GradientSink sink = make();
  std::vector<at::Tensor> sums(3);
  sink.begin_step(true);
  feed(sink, sums);
  const GradientTotals totals = sink.totals();
  EXPECT_NEAR(totals.norm, norm_of(sums), 1e-6 * totals.norm);
  EXPECT_FALSE(totals.non_finite);
  EXPECT_EQ(sink.proof(parameters[1]).non_zero, 1.0);
  EXPECT_EQ(sink.bytes(), 10 * 16 + 10 * 2 + 7 * 24 + 7 * 3 + 24 * 4);
  for (std::size_t i = 0; i < 3; ++i) {
    const Gradient g = sink.take(parameters[i]);
    EXPECT_EQ(g.dense.defined(), i == 2);
    const at::Tensor got = decoded(g, parameters[i].shape);
    const double error = got.sub(sums[i]).norm().item<double>() / sums[i].norm().item<double>();
    EXPECT_LT(error, i == 2 ? 1e-7 : 0.13);
    EXPECT_GT(error, i == 2 ? -1.0 : 0.02) << "or it was not quantised";
  }
  EXPECT_EQ(sink.bytes(), 0);
}

TEST_F(Sink, MicroBatchesAddUpDenseBeforeTheyAreQuantised) {
  SinkOptions options;
  options.micro_batches = 3;
  GradientSink sink = make(options);
  std::vector<at::Tensor> sums(3);
  sink.begin_step(false);
  for (int i = 0; i < 3; ++i) feed(sink, sums);
  EXPECT_NEAR(sink.totals().norm, norm_of(sums), 1e-5 * norm_of(sums));
  const Gradient once = quantised(sums[1]);
  const Gradient got = sink.take(parameters[1]);
  EXPECT_TRUE(at::equal(got.planes.codes, once.planes.codes)) << "one rounding of the sum";
}

TEST_F(Sink, MissingAndSurplusContributionsAreNamed) {
  GradientSink sink = make();
  sink.begin_step(false);
  sink.add(parameters[1], random({7, 40}));
  EXPECT_NE(test::error_text([&] { sink.totals(); }).find("model.embed_tokens.weight received 0 of 2"),
            std::string::npos);
  EXPECT_NE(test::error_text([&] {
              sink.add(parameters[1], random({7, 40}));
            }).find("a.weight"),
            std::string::npos);
}

TEST_F(Sink, ANonFiniteGradientIsNamedAndNothingElseIsLost) {
  for (const float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    GradientSink sink = make();
    std::vector<at::Tensor> sums(3);
    sink.begin_step(false);
    sink.add(parameters[0], random({10, 24}));
    at::Tensor dw = random({7, 40});
    dw[3][5].fill_(bad);
    sink.add(parameters[1], dw);
    sink.add(parameters[2], random({24}));
    sink.add_rows(parameters[0], at::tensor({4}, at::kLong), random({1, 24}));
    EXPECT_EQ(sink.totals().non_finite, "a.weight");
    sink.begin_step(false);
    feed(sink, sums);
    EXPECT_FALSE(sink.totals().non_finite);
  }
}

TEST_F(Sink, FrozenParametersKeepNothing) {
  formats.erase(&parameters[0]);
  GradientSink sink = make();
  std::vector<at::Tensor> sums(3);
  sink.begin_step(false);
  feed(sink, sums);
  EXPECT_NEAR(sink.totals().norm, norm_of({sums[1], sums[2]}), 1e-5);
  EXPECT_EQ(sink.bytes(), 7 * 24 + 7 * 3 + 24 * 4);
}

TEST_F(Sink, ImmediateGradientsAreHandedOverOnceAndNotKept) {
  std::vector<std::string> order;
  SinkOptions options;
  options.immediate = [&](const Parameter& p, const at::Tensor&) { order.push_back(p.name); };
  GradientSink sink = make(options);
  std::vector<at::Tensor> sums(3);
  sink.begin_step(false);
  feed(sink, sums);
  EXPECT_EQ(order, (std::vector<std::string>{"a.weight", "norm.weight", "model.embed_tokens.weight"}));
  EXPECT_EQ(sink.bytes(), 0);
  EXPECT_NEAR(sink.totals().norm, norm_of(sums), 1e-5 * norm_of(sums));
}

TEST(GradientCodec, TypesAndVectorsAreTheCodecs) {
  at::manual_seed(9);
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
    for (const std::vector<std::int64_t>& shape :
         std::vector<std::vector<std::int64_t>>{{33, 21}, {5, 16}, {19}, {1, 1}}) {
      const at::Tensor x = random(shape, dtype);
      const Gradient g = quantised(x);
      const at::Tensor wide = x.to(at::kFloat).contiguous();
      const std::int64_t cols = shape.back(), rows = x.numel() / cols;
      const nvfp4::EncodeOptions options;
      const nvfp4::GlobalScale global = nvfp4::global_scale(wide.abs().max().item<float>(), options);
      at::Tensor codes = at::empty({rows, nvfp4::packed_cols(cols) / 2}, at::kByte);
      at::Tensor scales = at::empty({rows, nvfp4::packed_cols(cols) / 16}, at::kByte);
      (void)nvfp4::quantize(wide.const_data_ptr<float>(), rows, cols, cols, global, options,
                            codes.mutable_data_ptr<std::uint8_t>(), scales.mutable_data_ptr<std::uint8_t>());
      EXPECT_TRUE(at::equal(g.planes.codes, codes)) << dtype;
      EXPECT_TRUE(at::equal(g.planes.scales, scales)) << dtype;
      EXPECT_EQ(g.planes.decode_scale, global.decode);
    }
  }
}

}  // namespace
}  // namespace tetrad::train

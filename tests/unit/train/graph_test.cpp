// The hand-written backward of whole models against libtorch's autograd on a plain transcription of the same
// model, every gradient, over packed rows; and what must not depend on how activations are kept or the head
// is cut.
#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>
#include <tetrad/base/error.h>
#include <tetrad/nvfp4/plane_codec.h>

#include <cmath>
#include <limits>
#include <map>

#include "model/rope.h"
#include "support/tiny_rig.h"
#include "train/graph/train_graph.h"

namespace tetrad::train {
namespace {

using Named = std::map<std::string, at::Tensor>;

class Collector final : public GradientReceiver {
 public:
  void add(const Parameter& p, at::Tensor dw) override {
    EXPECT_EQ(dw.sizes(), at::IntArrayRef(p.shape)) << p.name;
    ++contributions[p.name];
    at::Tensor& sum = sums[p.name];
    sum = sum.defined() ? sum.add(dw) : dw.clone();
  }
  void add_rows(const Parameter& p, const at::Tensor& ids, const at::Tensor& rows) override {
    const at::Tensor whole = at::zeros(p.shape, rows.options());
    whole.index_copy_(0, ids, rows);
    add(p, whole);
  }
  Named sums;
  std::map<std::string, int> contributions;
};

// Rows of packed documents, with a part of each scored, and padding at the end of the second row.
Batch packed_batch(std::int64_t width = 12) {
  Batch batch;
  batch.rows = 2;
  batch.width = width;
  const std::vector<std::vector<std::int64_t>> lengths = {{5, 7}, {3, 1, 6}};
  std::int64_t id = 3;
  for (const auto& row : lengths) {
    std::int64_t used = 0, document = 0;
    for (const std::int64_t length : row) {
      for (std::int64_t t = 0; t < length; ++t) {
        id = (id * 37 + 11) % 250;
        batch.ids.push_back(id);
        batch.positions.push_back(t);
        batch.documents.push_back(document);
        batch.targets.push_back(t % 3 == 0 ? Batch::not_scored : (id * 5 + t) % 250);
      }
      ++document;
      used += length;
    }
    for (; used < batch.width; ++used) {
      batch.ids.push_back(0);
      batch.positions.push_back(0);
      batch.documents.push_back(Batch::padding);
      batch.targets.push_back(Batch::not_scored);
    }
  }
  return batch;
}

at::Tensor plain_norm(const at::Tensor& x, const at::Tensor& w, double eps) {
  return x.mul(at::rsqrt(x.square().mean(at::IntArrayRef{-1}, true).add(eps))).mul(w);
}

at::Tensor plain_rope(const at::Tensor& x, const model::ModelConfig& c) {  // [T, n, dim]
  const auto rope = model::rope_inverse_frequencies(c);
  const at::Tensor inv = at::tensor(rope.inv_freq, at::kDouble).to(x.scalar_type());
  const at::Tensor angle = at::arange(x.size(0), x.options()).unsqueeze(1).mul(inv).unsqueeze(1);
  const at::Tensor cos = angle.cos().mul(rope.attention_scaling),
                   sin = angle.sin().mul(rope.attention_scaling);
  const std::int64_t half = x.size(2) / 2;
  const at::Tensor a = x.narrow(2, 0, half), b = x.narrow(2, half, half);
  return at::cat({a.mul(cos).sub(b.mul(sin)), b.mul(cos).add(a.mul(sin))}, 2);
}

// Sum of the negative log likelihoods of one document.
at::Tensor plain_loss(const Named& w, const model::ModelConfig& c, const at::Tensor& ids,
                      const at::Tensor& targets) {
  at::Tensor x = at::index_select(w.at("model.embed_tokens.weight"), 0, ids);
  const std::int64_t n = ids.size(0), dim = c.head_dim, group = c.num_attention_heads / c.num_key_value_heads;
  const at::Tensor mask = at::full({n, n}, -std::numeric_limits<double>::infinity(), x.options()).triu(1);
  for (std::int64_t layer = 0; layer < c.num_hidden_layers; ++layer) {
    const auto p = [&](const std::string& name) {
      return w.at("model.layers." + std::to_string(layer) + "." + name + ".weight");
    };
    const at::Tensor h = plain_norm(x, p("input_layernorm"), c.rms_norm_eps);
    const auto heads = [&](const char* proj, const char* norm) {
      at::Tensor t = at::linear(h, p(std::string("self_attn.") + proj)).view({n, -1, dim});
      if (norm != nullptr && c.qk_norm)
        t = plain_norm(t, p(std::string("self_attn.") + norm), c.rms_norm_eps);
      return norm == nullptr ? t : plain_rope(t, c);
    };
    const at::Tensor q = heads("q_proj", "q_norm").transpose(0, 1);
    const at::Tensor k = heads("k_proj", "k_norm").transpose(0, 1).repeat_interleave(group, 0);
    const at::Tensor v = heads("v_proj", nullptr).transpose(0, 1).repeat_interleave(group, 0);
    const at::Tensor scores =
        at::bmm(q, k.transpose(1, 2)).div(std::sqrt(static_cast<double>(dim))).add(mask);
    const at::Tensor out = at::bmm(at::softmax(scores, -1), v).transpose(0, 1).reshape({n, -1});
    x = x.add(at::linear(out, p("self_attn.o_proj")));
    const at::Tensor m = plain_norm(x, p("post_attention_layernorm"), c.rms_norm_eps);
    x = x.add(at::linear(at::silu(at::linear(m, p("mlp.gate_proj"))).mul(at::linear(m, p("mlp.up_proj"))),
                         p("mlp.down_proj")));
  }
  x = plain_norm(x, w.at("model.norm.weight"), c.rms_norm_eps);
  const at::Tensor head = c.tie_word_embeddings ? w.at("model.embed_tokens.weight") : w.at("lm_head.weight");
  return at::cross_entropy_loss(at::linear(x, head), targets, {}, /*Reduction::Sum*/ 2, /*ignore=*/-100);
}

struct Expected {
  double loss = 0.0;
  Named gradients;
};

Expected autograd(test::TinyRig& rig, const Batch& batch, double scale) {
  Named leaves;
  for (const Parameter& p : rig.transformer->parameters())
    leaves[p.name] = p.dense.to(at::kDouble).clone().requires_grad_(true);
  at::Tensor sum;
  for (std::size_t begin = 0; begin < batch.ids.size();) {
    std::size_t end = begin + 1;
    while (end < batch.ids.size() && batch.positions[end] != 0) ++end;
    if (batch.documents[begin] != Batch::padding) {
      const auto cut = [&](const std::vector<std::int64_t>& all) {
        return at::tensor(std::vector<std::int64_t>(all.begin() + begin, all.begin() + end), at::kLong);
      };
      const at::Tensor loss = plain_loss(leaves, rig.model_config, cut(batch.ids), cut(batch.targets));
      sum = sum.defined() ? sum.add(loss) : loss;
    }
    begin = end;
  }
  sum.mul(scale).backward();
  Expected expected;
  expected.loss = sum.item<double>();
  for (auto& [name, leaf] : leaves) expected.gradients[name] = leaf.grad();
  return expected;
}

double distance(const at::Tensor& a, const at::Tensor& b) {
  const double norm = b.to(at::kDouble).norm().item<double>();
  return a.to(at::kDouble).sub(b.to(at::kDouble)).norm().item<double>() / std::max(norm, 1e-12);
}

nlohmann::json llama_config() {
  nlohmann::json config = test::tiny_config();
  config["architectures"] = {"LlamaForCausalLM"};
  config["model_type"] = "llama";
  return config;
}

void expect_autograds(const nlohmann::json& config) {
  test::TinyRig rig(config);
  const Batch batch = packed_batch();
  const Expected expected = autograd(rig, batch, 0.125);
  const StepInput input = StepInput::make(batch, rig.model_config.vocab_size, at::kCPU);
  TrainGraph graph(*rig.transformer, {});
  const at::Tensor losses = graph.forward(input);
  EXPECT_NEAR(losses.sum().item<double>(), expected.loss, 1e-5 * expected.loss);
  Collector got;
  graph.backward(input, 0.125, got);
  EXPECT_EQ(graph.saved_bytes(), 0);
  for (const Parameter& p : rig.transformer->parameters()) {
    ASSERT_TRUE(got.sums.contains(p.name)) << p.name;
    EXPECT_EQ(got.contributions[p.name], p.gradient_contributions) << p.name;
    EXPECT_GT(expected.gradients.at(p.name).norm().item<double>(), 0.0) << p.name;
    EXPECT_LT(distance(got.sums[p.name], expected.gradients.at(p.name)), 2e-5) << p.name;
  }
}

TEST(TrainGraph, EveryGradientOfAQwen3IsAutograds) {
  expect_autograds(test::tiny_config());
}

TEST(TrainGraph, EveryGradientOfATiedModelIsAutograds) {
  nlohmann::json config = test::tiny_config();
  config["tie_word_embeddings"] = true;
  expect_autograds(config);
}

TEST(TrainGraph, EveryGradientOfALlamaIsAutograds) {
  expect_autograds(llama_config());
}

struct Pass1 {
  at::Tensor losses;
  Named gradients;
  std::int64_t saved = 0;
};

Pass1 run(test::TinyRig& rig, GraphOptions options, const Batch& batch = packed_batch()) {
  const StepInput input = StepInput::make(batch, rig.model_config.vocab_size, at::kCPU);
  TrainGraph graph(*rig.transformer, options);
  Pass1 result;
  result.losses = graph.forward(input);
  result.saved = graph.saved_bytes();
  Collector got;
  graph.backward(input, 1.0, got);
  result.gradients = got.sums;
  return result;
}

TEST(TrainGraph, CheckpointingChangesMemoryAndNotABit) {
  test::TinyRig rig;
  const Pass1 none = run(rig, {Checkpointing::none});
  const Pass1 selective = run(rig, {Checkpointing::selective});
  const Pass1 block = run(rig, {Checkpointing::block});
  EXPECT_GT(none.saved, selective.saved);
  EXPECT_GT(selective.saved, block.saved);
  EXPECT_GT(block.saved, 0);
  for (const Pass1* other : {&selective, &block}) {
    EXPECT_TRUE(at::equal(none.losses, other->losses));
    for (const auto& [name, gradient] : none.gradients)
      EXPECT_TRUE(at::equal(gradient, other->gradients.at(name))) << name;
  }
}

TEST(TrainGraph, AHeadInTilesGivesTheSame) {
  test::TinyRig rig;
  const Pass1 whole = run(rig, {});
  const Pass1 tiled = run(rig, {Checkpointing::none, /*head_budget_bytes=*/20000});
  EXPECT_LT(distance(tiled.losses, whole.losses), 1e-6);
  for (const auto& [name, gradient] : whole.gradients)
    EXPECT_LT(distance(tiled.gradients.at(name), gradient), 1e-5) << name;
  HeadLoss head(*rig.transformer, 20000);
  EXPECT_TRUE(head.tiles(18)) << "or this test compares the same thing";
}

TEST(TrainGraph, FilledUpTokensChangeNothing) {
  for (const char* tied : {"no", "yes"}) {
    nlohmann::json config = test::tiny_config();
    config["tie_word_embeddings"] = *tied == 'y';
    test::TinyRig rig(config);
    const Batch wide = packed_batch(140);  // the same documents in 280 places
    const StepInput input = StepInput::make(wide, rig.model_config.vocab_size, at::kCPU);
    EXPECT_EQ(input.granule, 9);
    ASSERT_EQ(input.tokens(), 27) << "22, and 5 that fill up to a multiple of 9";
    EXPECT_NE(input.scored.size(0) % 9, 0) << "or the head has nothing to fill up";
    const Pass1 as_is = run(rig, {}), filled = run(rig, {}, wide);
    EXPECT_EQ(filled.losses.sizes(), as_is.losses.sizes());
    EXPECT_LT(distance(filled.losses, as_is.losses), 1e-6);
    for (const auto& [name, gradient] : as_is.gradients)
      EXPECT_LT(distance(filled.gradients.at(name), gradient), 1e-5) << name;
  }
  EXPECT_EQ(filled_to(280, at::kCUDA), 1);
}

TEST(TrainGraph, EvaluationGivesTheLossesAndKeepsNothing) {
  test::TinyRig rig;
  const StepInput input = StepInput::make(packed_batch(), rig.model_config.vocab_size, at::kCPU);
  TrainGraph graph(*rig.transformer, {});
  const at::Tensor evaluated = graph.evaluate(input);
  EXPECT_EQ(graph.saved_bytes(), 0);
  EXPECT_TRUE(at::equal(evaluated, graph.forward(input)));
}

TEST(TrainGraph, TheLossIsThatOfTheInferenceGraph) {
  test::TinyRig rig;
  Batch batch;
  batch.rows = 1;
  batch.width = 9;
  for (std::int64_t i = 0; i < 9; ++i) {
    batch.ids.push_back(17 * i % 250);
    batch.targets.push_back(i < 8 ? 17 * (i + 1) % 250 : 3);
    batch.positions.push_back(i);
    batch.documents.push_back(0);
  }
  TrainGraph graph(*rig.transformer, {});
  const at::Tensor got = graph.evaluate(StepInput::make(batch, rig.model_config.vocab_size, at::kCPU));
  generate::Context context = rig.context();
  std::vector<std::int32_t> ids(batch.ids.begin(), batch.ids.end());
  context.feed_all(ids, [&](std::int64_t, const at::Tensor& logits) {
    const at::Tensor log_p = at::log_softmax(logits, -1);
    for (std::int64_t i = 0; i < 9; ++i)
      EXPECT_NEAR(got[i].item<float>(), -log_p[i][batch.targets[static_cast<std::size_t>(i)]].item<float>(),
                  1e-5F);
  });
}

TEST(TrainGraph, NormsMayBeStoredInPlanes) {
  test::TinyRig planes, dense;
  const char* const name = "model.layers.1.post_attention_layernorm.weight";
  Parameter& p = planes.parameter(name);
  const std::int64_t n = p.shape[0];
  const auto bytes = at::TensorOptions().dtype(at::kByte);
  p.planes.codes = at::empty({1, nvfp4::packed_cols(n) / 2}, bytes);
  p.planes.scales = at::empty({1, nvfp4::packed_cols(n) / 16}, bytes);
  p.planes.lo_codes = at::empty({1, nvfp4::packed_cols(n) / 2}, bytes);
  const nvfp4::GlobalScale global = nvfp4::power_of_two_scale(p.dense.abs().max().item<float>());
  p.planes.decode_scale = global.decode;
  const nvfp4::PlanesOut out{p.planes.codes.mutable_data_ptr<std::uint8_t>(),
                             p.planes.scales.mutable_data_ptr<std::uint8_t>(),
                             p.planes.lo_codes.mutable_data_ptr<std::uint8_t>(), nullptr};
  (void)nvfp4::quantize_planes(p.dense.const_data_ptr<float>(), 1, n, n, global, {}, out);
  at::Tensor& decoded = dense.parameter(name).dense;
  const at::Tensor before = decoded.clone();
  nvfp4::dequantize_planes(nvfp4::PlanesView{out.codes, out.scales, out.lo, nullptr}, global.decode,
                           nvfp4::PlaneValue::exact, 1, n, decoded.mutable_data_ptr<float>());
  EXPECT_FALSE(at::equal(before, decoded));
  p.dense = at::Tensor();
  p.format = Format::nvfp4_hi_lo;
  ++p.version;
  const Pass1 a = run(planes, {}), b = run(dense, {});
  EXPECT_TRUE(at::equal(a.losses, b.losses));
  for (const auto& [other, gradient] : b.gradients) EXPECT_TRUE(at::equal(gradient, a.gradients.at(other)));
  // A second write to the same planes is seen through the version.
  p.planes.scales.fill_(0);
  ++p.version;
  EXPECT_EQ(planes.transformer->norm_weight(p).abs().max().item<float>(), 0.0F);
}

TEST(TrainGraph, AFailingBackendNamesTheParameterAndLeavesNothingBehind) {
  test::TinyRig rig;
  const StepInput input = StepInput::make(packed_batch(), rig.model_config.vocab_size, at::kCPU);
  TrainGraph graph(*rig.transformer, {Checkpointing::block});
  graph.forward(input);
  rig.linear.fail_on = "model.layers.0.mlp.up_proj.weight";
  Collector got;
  try {
    graph.backward(input, 1.0, got);
    FAIL() << "recomputation should have failed";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("mlp.gate_proj"), std::string::npos) << e.what();
  }
  EXPECT_EQ(graph.saved_bytes(), 0);
  EXPECT_THROW(graph.backward(input, 1.0, got), Error);
}

TEST(StepInput, RefusesWhatIsNoBatch) {
  Batch batch = packed_batch();
  batch.ids[3] = 264;
  EXPECT_THROW(StepInput::make(batch, 264, at::kCPU), Error);
  batch = packed_batch();
  batch.targets[1] = -7;
  EXPECT_THROW(StepInput::make(batch, 264, at::kCPU), Error);
  batch = packed_batch();
  batch.positions[5] = 2;
  EXPECT_THROW(StepInput::make(batch, 264, at::kCPU), Error);
  batch = packed_batch();
  for (std::int64_t& target : batch.targets) target = Batch::not_scored;
  EXPECT_THROW(StepInput::make(batch, 264, at::kCPU), Error);
  const StepInput input = StepInput::make(packed_batch(), 264, at::kCPU);
  EXPECT_EQ(input.tokens(), 22);
  EXPECT_EQ(input.documents.segments.size(), 5U);
  EXPECT_EQ(input.longest_position, 7);
}

}  // namespace
}  // namespace tetrad::train

// The graph: what it shows an observer and in which order, what it names when a part fails, and that a step
// can be repeated. Its numbers are compared with transformers in tests/oracle.
#include "model/transformer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ATen/ops/allclose.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>

#include "support/error_text.h"
#include "support/tiny_rig.h"

namespace tetrad::model {
namespace {

using test::error_text;
using test::TinyRig;
using testing::ElementsAre;
using testing::HasSubstr;

class Recorder final : public ForwardObserver {
 public:
  void seen(std::int64_t layer, std::string_view tensor, const at::Tensor& value) override {
    names.push_back(std::to_string(layer) + " " + std::string(tensor));
    values.push_back(value.clone());
  }
  std::vector<std::string> names;
  std::vector<at::Tensor> values;
};

at::Tensor forward(TinyRig& rig, std::int64_t begin, std::int64_t count,
                   ForwardObserver* observer = nullptr) {
  KvReserve answer = KvReserve::full;
  EXPECT_TRUE(rig.kv.prepare(count, answer).ok());
  return rig.transformer->forward(at::arange(begin + 40, begin + 40 + count, at::kLong), begin, rig.kv,
                                  Pass::eval, observer);
}

std::vector<std::string> expected_names(bool layers_of_two = true) {
  std::vector<std::string> names = {"-1 embed_tokens"};
  for (int layer = 0; layer < (layers_of_two ? 2 : 1); ++layer) {
    for (const char* name :
         {"input_layernorm", "q_proj", "k_proj", "v_proj", "q_rotated", "k_rotated", "attention", "o_proj",
          "post_attention_layernorm", "gate_proj", "up_proj", "silu_mul", "down_proj", "residual"}) {
      names.push_back(std::to_string(layer) + " " + name);
    }
  }
  names.push_back("2 norm");
  return names;
}

TEST(Transformer, ShowsEveryTensorInTheOrderOfTheComputation) {
  TinyRig rig;
  Recorder recorder;
  const at::Tensor hidden = forward(rig, 0, 5, &recorder);
  EXPECT_EQ(recorder.names, expected_names());
  EXPECT_EQ(hidden.sizes(), at::IntArrayRef({5, 32}));
  EXPECT_TRUE(at::equal(recorder.values.back(), hidden));
  const at::Tensor logits = rig.transformer->logits(hidden, Pass::eval);
  EXPECT_EQ(logits.sizes(), at::IntArrayRef({5, test::tiny_vocab}));
  EXPECT_EQ(logits.scalar_type(), at::kFloat);
}

TEST(Transformer, AnObserverChangesNothing) {
  TinyRig rig, other;
  Recorder recorder;
  EXPECT_TRUE(at::equal(forward(rig, 0, 7, &recorder), forward(other, 0, 7)));
}

TEST(Transformer, AStepMayBeRepeatedBeforeItsCommit) {
  TinyRig rig;
  forward(rig, 0, 4);
  ASSERT_TRUE(rig.kv.commit(4).ok());
  KvReserve answer = KvReserve::full;
  ASSERT_TRUE(rig.kv.prepare(3, answer).ok());
  const at::Tensor ids = at::arange(44, 47, at::kLong);
  const at::Tensor first = rig.transformer->forward(ids, 4, rig.kv, Pass::eval);
  const at::Tensor second = rig.transformer->forward(ids, 4, rig.kv, Pass::eval);
  EXPECT_TRUE(at::equal(first, second));
  EXPECT_EQ(rig.kv.lengths().next_position, 4) << "a forward pass commits nothing";
  ASSERT_TRUE(rig.kv.commit(3).ok());

  TinyRig whole;
  EXPECT_TRUE(at::allclose(forward(whole, 0, 7).narrow(0, 4, 3), second, 1e-4, 1e-5));
}

TEST(Transformer, PositionsMatter) {
  TinyRig rig;
  const at::Tensor at_0 = forward(rig, 0, 1);
  ASSERT_TRUE(rig.kv.abort().ok());
  KvReserve answer = KvReserve::full;
  ASSERT_TRUE(rig.kv.prepare(2, answer).ok());
  const at::Tensor pair =
      rig.transformer->forward(at::arange(40, 42, at::kLong).flip(0), 0, rig.kv, Pass::eval);
  EXPECT_FALSE(at::allclose(at_0[0], pair[1], 1e-3, 1e-3)) << "the same token later, after another one";
}

TEST(Transformer, WeightsThatShareAnInputGoToTheBackendTogether) {
  TinyRig rig;
  forward(rig, 0, 2);
  const std::string at = "model.layers.0.";
  ASSERT_EQ(rig.linear.forwards.size(), 8U);
  EXPECT_THAT(rig.linear.forwards[0],
              ElementsAre(at + "self_attn.q_proj.weight", at + "self_attn.k_proj.weight",
                          at + "self_attn.v_proj.weight"));
  EXPECT_THAT(rig.linear.forwards[1], ElementsAre(at + "self_attn.o_proj.weight"));
  EXPECT_THAT(rig.linear.forwards[2], ElementsAre(at + "mlp.gate_proj.weight", at + "mlp.up_proj.weight"));
  EXPECT_THAT(rig.linear.forwards[3], ElementsAre(at + "mlp.down_proj.weight"));
}

TEST(Transformer, ErrorsNameThePluginAndTheParameter) {
  for (const std::string name :
       {"model.layers.0.self_attn.q_proj.weight", "model.layers.1.mlp.down_proj.weight"}) {
    TinyRig rig;
    rig.linear.fail_on = name;
    EXPECT_EQ(error_text([&] { forward(rig, 0, 3); }),
              "[fake-linear] forward of " + name + ": the product fell over");
  }
  // A group is named by its first member.
  TinyRig group;
  group.linear.fail_on = "model.layers.1.mlp.up_proj.weight";
  EXPECT_THAT(error_text([&] { forward(group, 0, 3); }),
              HasSubstr("[fake-linear] forward of model.layers.1.mlp.gate_proj.weight"));

  TinyRig lookup;
  lookup.linear.fail_on = "model.embed_tokens.weight";
  EXPECT_EQ(error_text([&] { forward(lookup, 0, 3); }),
            "[fake-linear] gather of model.embed_tokens.weight: the lookup fell over");
  TinyRig head;
  head.linear.fail_on = "lm_head.weight";
  const at::Tensor hidden = forward(head, 0, 3);
  EXPECT_THAT(error_text([&] { head.transformer->logits(hidden, Pass::eval); }),
              HasSubstr("forward of lm_head.weight"));
  TinyRig cache;
  cache.kv.fail_write_at = 2;
  EXPECT_EQ(error_text([&] { forward(cache, 0, 3); }), "[kv_cache] write of layer 1: no room for these keys");
}

TEST(Transformer, ATiedHeadIsTheEmbedding) {
  nlohmann::json config = test::tiny_config();
  config["tie_word_embeddings"] = true;
  TinyRig rig(config);
  rig.transformer->logits(forward(rig, 0, 1), Pass::eval);
  EXPECT_THAT(rig.linear.forwards.back(), ElementsAre("model.embed_tokens.weight"));
}

TEST(Transformer, TheWeightVersionFollowsEveryParameter) {
  TinyRig rig;
  const std::uint64_t before = rig.transformer->weight_version();
  for (const Parameter& parameter : rig.transformer->parameters()) {
    const std::uint64_t now = rig.transformer->weight_version();
    ++rig.parameter(parameter.name).version;
    EXPECT_NE(rig.transformer->weight_version(), now) << parameter.name;
  }
  EXPECT_EQ(rig.transformer->weight_version(), before + rig.transformer->parameters().size());
}

}  // namespace
}  // namespace tetrad::model

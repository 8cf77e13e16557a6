// From files to Parameters: every difference between files and config.json is an error before anything is
// prepared, and what is loaded has the stored values in the run's dtype.
#include "model/loader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ATen/ops/equal.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <string_view>

#include "model/names.h"
#include "support/error_text.h"
#include "support/fake_plugins.h"
#include "support/temp_dir.h"
#include "support/tiny_model.h"

namespace tetrad::model {
namespace {

using nlohmann::json;
using test::error_text;
using test::FakeLinear;
using test::TempDir;
using test::Weights;
using testing::AllOf;
using testing::HasSubstr;
using Files = std::map<std::string, Weights>;

struct Loaded {
  LoadedWeights weights;
  FakeLinear backend;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> progress;
};

void load(Loaded& loaded, const json& config, const Files& files, io::DType stored = io::DType::f32,
          at::ScalarType dtype = at::kFloat) {
  TempDir dir;
  test::write_weights(dir / "model.safetensors", files, stored);
  LinearSetup setup;
  setup.dtype = dtype;
  loaded.weights = load_weights(
      checkpoint::Checkpoint::open(dir.path()), ModelConfig::parse(config, "config.json"), setup,
      loaded.backend, "fake",
      [&](std::uint64_t done, std::uint64_t total) { loaded.progress.emplace_back(done, total); });
}

std::string refusal(const json& config, const Files& files) {
  Loaded loaded;
  const std::string text = error_text([&] { load(loaded, config, files); });
  EXPECT_TRUE(loaded.backend.prepared.empty()) << "checked before anything is prepared";
  return text;
}

const Parameter& find(const LoadedWeights& weights, std::string_view name) {
  const auto at = std::find_if(weights.parameters.begin(), weights.parameters.end(),
                               [&](const Parameter& p) { return p.name == name; });
  if (at == weights.parameters.end()) throw std::runtime_error("no " + std::string(name));
  return *at;
}

TEST(Loader, GivesEveryTensorItsValuesRoleAndFormat) {
  const json config = test::tiny_config();
  const Files files = test::tiny_weights(config);
  Loaded loaded;
  load(loaded, config, files);
  EXPECT_EQ(loaded.weights.parameters.size(), files.size());
  std::size_t matrices = 0;
  for (const auto& [name, stored] : files) {
    const Parameter& parameter = find(loaded.weights, name);
    EXPECT_EQ(parameter.shape, stored.shape);
    EXPECT_EQ(parameter.format, Format::fp32);
    EXPECT_EQ(parameter.gradient_contributions, 1);
    EXPECT_EQ(parameter.version, 0U);
    EXPECT_TRUE(at::equal(parameter.dense.flatten(), at::tensor(stored.values))) << name;
    const bool matrix = stored.shape.size() == 2;
    matrices += matrix ? 1 : 0;
    ASSERT_EQ(loaded.weights.prepared.contains(name), matrix) << name;
    if (matrix) {
      EXPECT_EQ(loaded.backend.prepared[static_cast<std::size_t>(loaded.weights.prepared.at(name))],
                &parameter);
    }
    EXPECT_EQ(parameter.role, name == embedding_name ? Role::embedding : matrix ? Role::linear : Role::norm);
  }
  EXPECT_EQ(loaded.backend.prepared.size(), matrices);
}

TEST(Loader, CastsToTheRunsDtype) {
  const json config = test::tiny_config();
  const Files files = test::tiny_weights(config);
  for (const auto& [dtype, format] : {std::pair{at::kBFloat16, Format::bf16}, {at::kHalf, Format::fp16}}) {
    Loaded loaded;
    load(loaded, config, files, io::DType::f32, dtype);
    const Parameter& parameter = find(loaded.weights, "model.layers.1.mlp.up_proj.weight");
    EXPECT_EQ(parameter.format, format);
    EXPECT_TRUE(at::equal(parameter.dense.flatten(), at::tensor(files.at(parameter.name).values).to(dtype)));
  }
  Loaded widened;
  load(widened, config, files, io::DType::bf16);
  EXPECT_EQ(find(widened.weights, head_name).dense.scalar_type(), at::kFloat);
}

TEST(Loader, ReportsProgressToTheLastByte) {
  Loaded loaded;
  load(loaded, test::tiny_config(), test::tiny_weights(test::tiny_config()));
  ASSERT_FALSE(loaded.progress.empty());
  EXPECT_TRUE(std::is_sorted(loaded.progress.begin(), loaded.progress.end()));
  EXPECT_EQ(loaded.progress.back().first, loaded.progress.back().second);
}

TEST(Loader, ATiedHeadIsTheEmbeddingAndIsPreparedOnce) {
  json config = test::tiny_config();
  config["tie_word_embeddings"] = true;
  Files files = test::tiny_weights(config);
  ASSERT_FALSE(files.contains(head_name));
  Loaded loaded;
  load(loaded, config, files);
  EXPECT_EQ(find(loaded.weights, embedding_name).gradient_contributions, 2);
  EXPECT_FALSE(loaded.weights.prepared.contains(head_name));

  files[head_name] = files.at(embedding_name);  // stored a second time: harmless
  Loaded again;
  load(again, config, files);
  EXPECT_EQ(again.weights.parameters.size(), files.size() - 1);
  files[head_name].values[5] += 1.0F;
  EXPECT_THAT(refusal(config, files), HasSubstr("tie_word_embeddings: true"));
}

TEST(Loader, EveryDifferenceIsNamedAtOnce) {
  const json config = test::tiny_config();
  Files files = test::tiny_weights(config);
  files.erase("model.layers.1.self_attn.k_norm.weight");
  files.erase("lm_head.weight");
  files["model.layers.2.mlp.up_proj.weight"] = {{2, 2}, {1, 2, 3, 4}};
  files["model.norm.weight"] = {{31}, std::vector<float>(31, 1.0F)};
  std::swap(files.at("model.layers.0.mlp.down_proj.weight").shape[0],
            files.at("model.layers.0.mlp.down_proj.weight").shape[1]);
  EXPECT_THAT(
      refusal(config, files),
      AllOf(HasSubstr(
                "2 missing:\n    model.layers.1.self_attn.k_norm.weight [16]\n    lm_head.weight [264, 32]"),
            HasSubstr("1 not part of the model:\n    model.layers.2.mlp.up_proj.weight F32 [2, 2]"),
            HasSubstr("2 of a wrong shape:"),
            HasSubstr("model.norm.weight is [31], config.json asks for [32]"),
            HasSubstr("model.layers.0.mlp.down_proj.weight is [48, 32], config.json asks for [32, 48]")));
}

TEST(Loader, WeightsOfAnotherTypeAreRefused) {
  const json config = test::tiny_config();
  TempDir dir;
  Files files = test::tiny_weights(config);
  Loaded loaded;
  EXPECT_THAT(error_text([&] { load(loaded, config, files, io::DType::i32); }),
              HasSubstr("of a wrong type:"));
}

TEST(Loader, ABackendThatRefusesAWeightIsQuotedWithItsName) {
  const json config = test::tiny_config();
  Loaded loaded;
  loaded.backend.refuse = "model.layers.1.self_attn.o_proj.weight";
  try {
    load(loaded, config, test::tiny_weights(config));
    FAIL() << "not refused";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "[fake] prepare of model.layers.1.self_attn.o_proj.weight: this weight is refused");
    EXPECT_EQ(error.code(), ExitCode::numerics);
  }
}

}  // namespace
}  // namespace tetrad::model

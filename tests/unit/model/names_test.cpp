#include "model/names.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <functional>
#include <set>

#include "io/safetensors_writer.h"
#include "sample_config.h"
#include "support/error_text.h"
#include "support/temp_dir.h"

namespace tetrad::model {
namespace {

using test::error_text;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

ModelConfig small(bool qwen3, bool tied) {
  auto config = qwen3 ? test::qwen3_config() : test::llama_config();
  config.update({{"hidden_size", 8},
                 {"intermediate_size", 12},
                 {"num_hidden_layers", 2},
                 {"num_attention_heads", 4},
                 {"num_key_value_heads", 2},
                 {"head_dim", 6},
                 {"vocab_size", 10},
                 {"tie_word_embeddings", tied},
                 {"bos_token_id", 1},
                 {"eos_token_id", 2}});
  return ModelConfig::parse(config, "f");
}

struct Stored {
  io::TensorSpec spec;
  std::string bytes;
};

// The tensors of a model, each filled with its own byte.
std::map<std::string, Stored> all_tensors(const ModelConfig& config) {
  std::map<std::string, Stored> result;
  const auto expected = expected_tensors(config);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    std::size_t bytes = 2;
    for (const auto extent : expected[i].shape) bytes *= static_cast<std::size_t>(extent);
    result[expected[i].name] = {{expected[i].name, io::DType::bf16, expected[i].shape},
                                std::string(bytes, static_cast<char>('A' + i))};
  }
  return result;
}

std::string check(const ModelConfig& config, const std::map<std::string, Stored>& tensors,
                  NameCheck* result = nullptr) {
  test::TempDir dir;
  std::vector<io::TensorData> data;
  for (const auto& [name, tensor] : tensors)
    data.push_back({tensor.spec, std::as_bytes(std::span(tensor.bytes))});
  io::write_safetensors(dir / "model.safetensors", data);
  const auto weights = io::WeightFiles::open(dir.path());
  return error_text([&] {
    const NameCheck answer = check_names(weights, config);
    if (result != nullptr) *result = answer;
  });
}

TEST(Names, counts_of_known_models) {
  EXPECT_EQ(parameter_count(ModelConfig::parse(test::llama_config(), "f")), 134'515'008);    // SmolLM2-135M
  EXPECT_EQ(parameter_count(ModelConfig::parse(test::qwen3_config(), "f")), 4'022'468'096);  // Qwen3-4B
  EXPECT_EQ(expected_tensors(ModelConfig::parse(test::llama_config(), "f")).size(), 272u);
  EXPECT_EQ(expected_tensors(ModelConfig::parse(test::qwen3_config(), "f")).size(), 398u);
}

TEST(Names, roles_and_flags) {
  for (const bool tied : {false, true}) {
    const auto tensors = expected_tensors(small(true, tied));
    std::set<std::string> names;
    for (const ExpectedTensor& tensor : tensors) {
      names.insert(tensor.name);
      EXPECT_EQ(tensor.role == TensorRole::norm, tensor.shape.size() == 1) << tensor.name;
      EXPECT_EQ(tensor.role == TensorRole::embedding, tensor.name == embedding_name);
      EXPECT_EQ(tensor.head, tensor.name == head_name);
      EXPECT_EQ(tensor.uses, tied && tensor.name == embedding_name ? 2 : 1);
      EXPECT_EQ(tensor.layer, tensor.name.starts_with("model.layers.1.")   ? 1
                              : tensor.name.starts_with("model.layers.0.") ? 0
                                                                           : -1);
    }
    EXPECT_EQ(names.size(), tensors.size());
    EXPECT_EQ(names.contains(head_name), !tied);
  }
  const auto shape = [](const ModelConfig& config, const std::string& name) {
    for (const auto& tensor : expected_tensors(config)) {
      if (tensor.name == name) return tensor.shape;
    }
    return std::vector<std::int64_t>{};
  };
  EXPECT_THAT(shape(small(true, false), "model.layers.1.self_attn.q_proj.weight"), ElementsAre(24, 8));
  EXPECT_THAT(shape(small(true, false), "model.layers.1.self_attn.v_proj.weight"), ElementsAre(12, 8));
  EXPECT_THAT(shape(small(true, false), "model.layers.1.self_attn.o_proj.weight"), ElementsAre(8, 24));
  EXPECT_THAT(shape(small(true, false), "model.layers.0.self_attn.k_norm.weight"), ElementsAre(6));
  EXPECT_THAT(shape(small(false, false), "model.layers.0.self_attn.k_norm.weight"), IsEmpty());
}

TEST(Names, accepts_whole_models) {
  for (const bool qwen3 : {false, true}) {
    for (const bool tied : {false, true}) {
      NameCheck result;
      EXPECT_EQ(check(small(qwen3, tied), all_tensors(small(qwen3, tied)), &result), "no error");
      EXPECT_THAT(result.ignored, IsEmpty());
    }
  }
}

TEST(Names, any_single_change_is_an_error) {
  const ModelConfig config = small(true, false);
  for (const auto& [name, tensor] : all_tensors(config)) {
    auto missing = all_tensors(config);
    missing.erase(name);
    EXPECT_THAT(check(config, missing),
                HasSubstr(fmt::format("\n  1 missing:\n    {} {}", name, io::describe(tensor.spec.shape))));

    auto misshapen = all_tensors(config);
    misshapen[name].spec.shape.insert(misshapen[name].spec.shape.begin(), 1);
    EXPECT_THAT(check(config, misshapen),
                HasSubstr(fmt::format("\n  1 of a wrong shape:\n    {} is [1, ", name)));

    auto mistyped = all_tensors(config);
    mistyped[name].spec.dtype = io::DType::i16;
    EXPECT_THAT(check(config, mistyped),
                HasSubstr(fmt::format("\n  1 of a wrong type:\n    {} is I16, not", name)));
  }
}

TEST(Names, transposed_weights_are_refused) {
  const ModelConfig config = small(false, true);
  auto tensors = all_tensors(config);
  auto& shape = tensors["model.layers.0.mlp.down_proj.weight"].spec.shape;
  std::swap(shape[0], shape[1]);
  EXPECT_THAT(check(config, tensors), HasSubstr("down_proj.weight is [12, 8], config.json asks for [8, 12]"));
}

TEST(Names, all_differences_at_once) {
  const ModelConfig config = small(true, false);
  auto tensors = all_tensors(config);
  tensors.erase("model.norm.weight");
  tensors["model.layers.0.self_attn.q_proj.bias"] = {
      {"model.layers.0.self_attn.q_proj.bias", io::DType::f32, {1}}, "1234"};
  tensors["model.layers.1.mlp.up_proj.weight"].spec.shape = {8, 12};
  EXPECT_THAT(
      check(config, tensors),
      AllOf(HasSubstr(
                "not those of the qwen3 model that config.json describes (25 tensors stored, 25 expected)"),
            HasSubstr("1 missing:\n    model.norm.weight [8]"),
            HasSubstr("1 not part of the model:\n    model.layers.0.self_attn.q_proj.bias F32 [1]"),
            HasSubstr("1 of a wrong shape:\n    model.layers.1.mlp.up_proj.weight is [8, 12], config.json "
                      "asks for [12, 8]")));
}

TEST(Names, another_number_of_layers) {
  EXPECT_THAT(check(small(true, false), all_tensors(small(false, false))), HasSubstr("4 missing"));
  EXPECT_THAT(check(small(false, false), all_tensors(small(true, false))),
              HasSubstr("4 not part of the model"));
}

TEST(Names, rotary_tables_are_ignored) {
  const ModelConfig config = small(false, false);
  auto tensors = all_tensors(config);
  const std::string name = "model.layers.0.self_attn.rotary_emb.inv_freq";
  tensors[name] = {{name, io::DType::f32, {1}}, "1234"};
  NameCheck result;
  EXPECT_EQ(check(config, tensors, &result), "no error");
  EXPECT_THAT(result.ignored, ElementsAre(name));
}

TEST(Names, a_tied_head_stored_twice_must_be_equal) {
  const ModelConfig config = small(false, true);
  auto tensors = all_tensors(config);
  tensors[head_name] = tensors[embedding_name];
  tensors[head_name].spec.name = head_name;
  NameCheck result;
  EXPECT_EQ(check(config, tensors, &result), "no error");
  EXPECT_THAT(result.ignored, ElementsAre(head_name));
  tensors[head_name].bytes.back() ^= 1;
  EXPECT_THAT(check(config, tensors),
              HasSubstr("lm_head.weight is stored beside model.embed_tokens.weight and differs"));
}

}  // namespace
}  // namespace tetrad::model

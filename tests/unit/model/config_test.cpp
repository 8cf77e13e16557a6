#include "model/config.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "sample_config.h"
#include "support/error_text.h"
#include "support/temp_dir.h"

namespace tetrad::model {
namespace {

using nlohmann::json;
using test::error_text;
using test::llama_config;
using test::qwen3_config;
using testing::ElementsAre;
using testing::HasSubstr;

std::string refusal(const json& config) {
  return error_text([&] { ModelConfig::parse(config, "m/config.json"); });
}

// The error after setting one field of a good config.
std::string with(const char* field, json value, json config = llama_config()) {
  config[field] = std::move(value);
  return refusal(config);
}

std::string with_rope(json scaling, const char* field = "rope_scaling") {
  return with(field, std::move(scaling));
}

TEST(ModelConfig, llama) {
  const auto config = ModelConfig::parse(llama_config(), "f");
  EXPECT_EQ(config.architecture, Architecture::llama);
  EXPECT_FALSE(config.qk_norm);
  EXPECT_EQ(config.head_dim, 64);
  EXPECT_EQ(config.q_size(), 576);
  EXPECT_EQ(config.kv_size(), 192);
  EXPECT_EQ(config.rope.theta, 100000.0);
  EXPECT_EQ(config.rope.type, RopeType::standard);
  EXPECT_TRUE(config.tie_word_embeddings);
  EXPECT_EQ(config.dtype, io::DType::bf16);
  EXPECT_EQ(config.bos_token_id, 1);
  EXPECT_THAT(config.eos_token_ids, ElementsAre(2));
}

TEST(ModelConfig, qwen3) {
  const auto config = ModelConfig::parse(qwen3_config(), "f");
  EXPECT_EQ(config.architecture, Architecture::qwen3);
  EXPECT_TRUE(config.qk_norm);
  EXPECT_EQ(config.head_dim, 128);
  EXPECT_EQ(config.q_size(), 4096);  // not hidden_size
  EXPECT_EQ(config.rms_norm_eps, 1e-6);
}

TEST(ModelConfig, what_may_be_absent) {
  json config = llama_config();
  for (const char* field : {"model_type", "num_key_value_heads", "rope_theta", "tie_word_embeddings",
                            "torch_dtype", "bos_token_id", "eos_token_id"}) {
    config.erase(field);
  }
  const auto parsed = ModelConfig::parse(config, "f");
  EXPECT_EQ(parsed.num_key_value_heads, 9);
  EXPECT_EQ(parsed.rope.theta, 10000.0);
  EXPECT_FALSE(parsed.tie_word_embeddings);
  EXPECT_FALSE(parsed.dtype);
  EXPECT_FALSE(parsed.bos_token_id);
  EXPECT_TRUE(parsed.eos_token_ids.empty());
  config.erase("architectures");
  EXPECT_EQ(refusal(config), "[config] m/config.json: 'architectures' is missing");
  config["model_type"] = "qwen3";
  config["head_dim"] = 32;
  EXPECT_EQ(ModelConfig::parse(config, "f").architecture, Architecture::qwen3);
}

TEST(ModelConfig, null_counts_as_absent) {
  json config = llama_config();
  for (const char* field :
       {"head_dim", "num_key_value_heads", "rope_scaling", "rope_parameters", "bos_token_id",
        "attention_bias", "quantization_config", "layer_types", "sliding_window"}) {
    config[field] = nullptr;
  }
  EXPECT_EQ(refusal(config), "no error");
}

TEST(ModelConfig, required_fields) {
  for (const char* field : {"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
                            "num_attention_heads", "max_position_embeddings", "rms_norm_eps"}) {
    json config = llama_config();
    config.erase(field);
    EXPECT_EQ(refusal(config), fmt::format("[config] m/config.json: '{}' is missing", field));
    EXPECT_EQ(with(field, nullptr), fmt::format("[config] m/config.json: '{}' is missing", field));
  }
  json config = qwen3_config();
  config.erase("head_dim");
  EXPECT_EQ(refusal(config), "[config] m/config.json: 'head_dim' is missing");
}

TEST(ModelConfig, every_size_has_a_type_and_a_range) {
  for (const char* field :
       {"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
        "num_key_value_heads", "head_dim", "max_position_embeddings"}) {
    for (const char* bad : {"\"64\"", "64.5", "true", "[64]", "{}"}) {
      EXPECT_EQ(with(field, json::parse(bad)),
                fmt::format("[config] m/config.json: '{}' is {}, not a whole number", field, bad));
    }
    for (const char* bad : {"0", "-1", "9223372036854775807", "18446744073709551615", "1e300", "-1e300"}) {
      const std::string text = with(field, json::parse(bad));
      EXPECT_THAT(text, HasSubstr(fmt::format("'{}' is ", field))) << bad;
      EXPECT_THAT(text, HasSubstr(", outside ")) << bad;
    }
  }
  EXPECT_EQ(with("hidden_size", 576.0), "no error");
}

TEST(ModelConfig, other_fields_have_types) {
  EXPECT_THAT(with("rms_norm_eps", "1e-5"), HasSubstr("'rms_norm_eps' is \"1e-5\", not a number"));
  EXPECT_THAT(with("rms_norm_eps", 0), HasSubstr("'rms_norm_eps' is 0, outside"));
  EXPECT_THAT(with("rms_norm_eps", 2), HasSubstr("outside"));
  EXPECT_THAT(with("rope_theta", 0), HasSubstr("'rope_theta' is 0, outside"));
  EXPECT_THAT(with("rope_theta", "x"), HasSubstr("'rope_theta' is \"x\", not a number"));
  EXPECT_THAT(with("tie_word_embeddings", 1), HasSubstr("'tie_word_embeddings' is 1, not true or false"));
  EXPECT_THAT(with("torch_dtype", 16), HasSubstr("'torch_dtype' is 16, not a string"));
  EXPECT_THAT(with("torch_dtype", "float64"), HasSubstr("'torch_dtype' is float64; supported are"));
  EXPECT_THAT(with("dtype", "int8"), HasSubstr("'dtype' is int8; supported are"));
  EXPECT_THAT(with("eos_token_id", 49152), HasSubstr("'eos_token_id' is 49152, outside 0 to 49151"));
  EXPECT_THAT(with("eos_token_id", {1, -1}), HasSubstr("'eos_token_id' is -1, outside"));
  EXPECT_THAT(with("bos_token_id", "<s>"), HasSubstr("'bos_token_id' is \"<s>\", not a whole number"));
  EXPECT_THAT(with("architectures", "LlamaForCausalLM"), HasSubstr("not a list of one name"));
  EXPECT_THAT(with("architectures", {"LlamaForCausalLM", "LlamaForCausalLM"}),
              HasSubstr("not a list of one name"));
  EXPECT_THAT(with("architectures", json::array({1})), HasSubstr("not a list of one name"));
  EXPECT_EQ(refusal(json::array()), "[config] m/config.json: the file's content is not an object but array");
}

TEST(ModelConfig, sizes_must_fit_each_other) {
  EXPECT_THAT(with("num_key_value_heads", 4),
              HasSubstr("'num_key_value_heads' is 4, which does not divide num_attention_heads 9"));
  EXPECT_THAT(with("num_key_value_heads", 10), HasSubstr("is 10, outside 1 to 9"));
  EXPECT_THAT(with("hidden_size", 577), HasSubstr("hidden_size 577 is no multiple of num_attention_heads 9"));
  EXPECT_THAT(with("head_dim", 65), HasSubstr("'head_dim' is 65; rotary embedding needs an even number"));
  EXPECT_THAT(with("hidden_size", 9 * 63), HasSubstr("'head_dim' is 63"));
}

TEST(ModelConfig, unsupported_models_are_refused_by_name) {
  EXPECT_THAT(with("architectures", {"Qwen2ForCausalLM"}),
              HasSubstr("'architectures' says Qwen2ForCausalLM; supported are"));
  EXPECT_THAT(with("model_type", "mistral"), HasSubstr("'model_type' is mistral, which does not fit"));
  EXPECT_THAT(with("attention_bias", true), HasSubstr("'attention_bias' is true, which is not supported"));
  EXPECT_THAT(with("mlp_bias", true), HasSubstr("'mlp_bias' is true"));
  EXPECT_THAT(with("hidden_act", "gelu"), HasSubstr("'hidden_act' is gelu, only silu"));
  EXPECT_THAT(with("sliding_window", 4096), HasSubstr("'sliding_window' is set"));
  EXPECT_THAT(with("use_sliding_window", true, qwen3_config()), HasSubstr("'use_sliding_window' is true"));
  EXPECT_EQ(with("sliding_window", 4096, qwen3_config()), "no error");
  EXPECT_THAT(with("layer_types", {"full_attention", "sliding_attention"}),
              HasSubstr("'layer_types' has \"sliding_attention\""));
  EXPECT_EQ(with("layer_types", {"full_attention", "full_attention"}), "no error");
  EXPECT_THAT(with("quantization_config", {{"quant_method", "gptq"}}), HasSubstr("stored quantised (gptq)"));
  EXPECT_THAT(with("partial_rotary_factor", 0.5), HasSubstr("'partial_rotary_factor' is not 1"));
}

TEST(ModelConfig, rope_variants) {
  const auto rope = [](json value, const char* field = "rope_scaling") {
    json config = llama_config();
    config[field] = std::move(value);
    return ModelConfig::parse(config, "f").rope;
  };
  EXPECT_EQ(rope({{"rope_type", "default"}}).type, RopeType::standard);
  EXPECT_EQ(rope(json::object()).type, RopeType::standard);
  EXPECT_EQ(rope({{"type", "linear"}, {"factor", 2}}).factor, 2.0);
  const auto fresh =
      rope({{"rope_type", "linear"}, {"factor", 3.5}, {"rope_theta", 77777}}, "rope_parameters");
  EXPECT_EQ(fresh.type, RopeType::linear);
  EXPECT_EQ(fresh.theta, 77777.0);
  EXPECT_EQ(rope({{"rope_type", "default"}}, "rope_parameters").theta,
            100000.0);  // falls back on the outer field
  const auto yarn = rope({{"rope_type", "yarn"}, {"factor", 4}, {"beta_fast", 0}});
  EXPECT_EQ(yarn.original_max_position_embeddings, 8192);
  EXPECT_EQ(yarn.beta_fast, 32.0);
  EXPECT_EQ(
      rope({{"rope_type", "yarn"}, {"factor", nullptr}, {"original_max_position_embeddings", 2048}}).factor,
      4.0);
}

TEST(ModelConfig, rope_errors) {
  EXPECT_THAT(with_rope({{"rope_type", "dynamic"}, {"factor", 2}}),
              HasSubstr("'rope_scaling.rope_type' is dynamic; supported are"));
  EXPECT_THAT(with_rope({{"type", "longrope"}}), HasSubstr("'rope_scaling.type' is longrope"));
  EXPECT_THAT(with_rope({{"type", "linear"}, {"rope_type", "yarn"}}),
              HasSubstr("is yarn, but 'type' is linear"));
  EXPECT_THAT(with_rope("linear"), HasSubstr("'rope_scaling' is not an object but string"));
  for (const char* type : {"linear", "llama3", "yarn"}) {
    EXPECT_THAT(with_rope({{"rope_type", type}}), HasSubstr("'rope_scaling.factor' is missing"));
    EXPECT_THAT(with_rope({{"rope_type", type}, {"factor", "8"}}),
                HasSubstr("'rope_scaling.factor' is \"8\", not a number"));
    EXPECT_THAT(with_rope({{"rope_type", type}, {"factor", 0.5}}),
                HasSubstr("'rope_scaling.factor' is 0.5, outside 1"));
  }
  const json llama3{{"rope_type", "llama3"},
                    {"factor", 8},
                    {"low_freq_factor", 1},
                    {"high_freq_factor", 4},
                    {"original_max_position_embeddings", 1024}};
  EXPECT_EQ(with_rope(llama3), "no error");
  for (const char* field : {"low_freq_factor", "high_freq_factor"}) {
    json broken = llama3;
    broken.erase(field);
    EXPECT_THAT(with_rope(broken), HasSubstr(fmt::format("'rope_scaling.{}' is missing", field)));
    broken[field] = -1;
    EXPECT_THAT(with_rope(broken), HasSubstr(fmt::format("'rope_scaling.{}' is -1, outside", field)));
  }
  json swapped = llama3;
  swapped["high_freq_factor"] = 1;
  EXPECT_THAT(with_rope(swapped),
              HasSubstr("'rope_scaling.high_freq_factor' is 1, not above low_freq_factor 1"));
  json original = llama3;
  original["original_max_position_embeddings"] = 0;
  EXPECT_THAT(with_rope(original),
              HasSubstr("'rope_scaling.original_max_position_embeddings' is 0, outside"));
  EXPECT_THAT(with_rope({{"rope_type", "yarn"}, {"factor", 2}, {"beta_fast", 1}, {"beta_slow", 2}}),
              HasSubstr("'rope_scaling.beta_fast' is 1, below beta_slow 2"));
  EXPECT_THAT(with_rope({{"rope_type", "yarn"}, {"factor", 2}, {"truncate", 1}}),
              HasSubstr("'rope_scaling.truncate' is 1, not true or false"));
  EXPECT_THAT(with_rope({{"full_attention", json::object()}}, "rope_parameters"),
              HasSubstr("'rope_parameters.full_attention' sets rope per layer type"));
  json both = llama_config();
  both["rope_scaling"] = llama3;
  both["rope_parameters"] = {{"rope_type", "default"}};
  EXPECT_THAT(refusal(both), HasSubstr("'rope_scaling' and 'rope_parameters' are both set and differ"));
  EXPECT_THAT(with_rope({{"rope_type", "default"}, {"partial_rotary_factor", 0.25}}, "rope_parameters"),
              HasSubstr("'rope_parameters.partial_rotary_factor' is not 1"));
}

TEST(ModelConfig, broken_files) {
  test::TempDir dir;
  EXPECT_THAT(error_text([&] { ModelConfig::load(dir.path()); }),
              HasSubstr("no config.json here; model.path must name"));
  dir.write("config.json", "{\n\"vocab_size\": }");
  EXPECT_THAT(error_text([&] { ModelConfig::load(dir.path()); }),
              HasSubstr("config.json: line 2, column 15"));
  dir.write("config.json", R"({"vocab_size":1,"vocab_size":2})");
  EXPECT_THAT(error_text([&] { ModelConfig::load(dir.path()); }), HasSubstr("duplicate key 'vocab_size'"));
  dir.write("config.json", llama_config().dump());
  EXPECT_EQ(ModelConfig::load(dir.path()).vocab_size, 49152);
}

}  // namespace
}  // namespace tetrad::model

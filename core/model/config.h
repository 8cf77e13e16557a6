// What config.json of a Hugging Face directory says about a model, checked and in one type. Contract: a
// ModelConfig that load() returned describes a model that this program computes exactly as transformers does;
// whatever it does not implement (other architectures, biases, sliding windows, quantisation methods, other
// rope variants) is refused by name, and every missing field, wrong type or absurd value is an error with
// file and field. Nothing is guessed: only fields for which transformers has the same default for every such
// model may be absent.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/dtype.h"

namespace tetrad::model {

enum class Architecture : std::uint8_t {
  llama,  // LlamaForCausalLM
  qwen3,  // Qwen3ForCausalLM: Llama's block with RMSNorm on each head's query and key
};

// "llama", "qwen3".
const char* architecture_name(Architecture architecture) noexcept;

enum class RopeType : std::uint8_t { standard, linear, llama3, yarn };

// Rotary position embedding. Field names are those of config.json's rope_parameters.
struct RopeConfig {
  RopeType type = RopeType::standard;
  double theta = 10000.0;
  double factor = 1.0;                                             // linear, llama3, yarn
  std::int64_t original_max_position_embeddings = 0;               // llama3, yarn
  double low_freq_factor = 1.0, high_freq_factor = 4.0;            // llama3
  double beta_fast = 32.0, beta_slow = 1.0;                        // yarn
  std::optional<double> attention_factor, mscale, mscale_all_dim;  // yarn
  bool truncate = true;                                            // yarn
};

struct ModelConfig {
  Architecture architecture = Architecture::llama;
  std::int64_t vocab_size = 0;
  std::int64_t hidden_size = 0;
  std::int64_t intermediate_size = 0;
  std::int64_t num_hidden_layers = 0;
  std::int64_t num_attention_heads = 0;
  std::int64_t num_key_value_heads = 0;  // divides num_attention_heads
  std::int64_t head_dim = 0;             // even; need not be hidden_size / num_attention_heads
  std::int64_t max_position_embeddings = 0;
  double rms_norm_eps = 0.0;
  bool tie_word_embeddings = false;
  bool qk_norm = false;
  RopeConfig rope;
  std::optional<io::DType> dtype;  // of the stored weights as the config states it: f32, bf16 or f16
  std::optional<std::int32_t> bos_token_id;
  std::vector<std::int32_t> eos_token_ids;  // generation_config.json has priority, see generation_config.h

  std::int64_t q_size() const noexcept { return num_attention_heads * head_dim; }
  std::int64_t kv_size() const noexcept { return num_key_value_heads * head_dim; }

  // Reads DIR/config.json.
  static ModelConfig load(const std::filesystem::path& model_dir);
  // From a parsed config; `where` names it in errors.
  static ModelConfig parse(const nlohmann::json& config, std::string_view where);
};

}  // namespace tetrad::model

// generation_config.json: the model's own stop tokens and sampling defaults. Contract: eos_token_ids is what
// ends a generation, taken from this file where it says so and from config.json otherwise; sampling values
// are what the file states, and absent ones stay absent (the run's config decides).
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string_view>
#include <vector>

#include "model/config.h"

namespace tetrad::model {

struct GenerationConfig {
  std::vector<std::int32_t> eos_token_ids;  // may be empty: then only the token limit ends a generation
  std::optional<std::int32_t> bos_token_id;
  std::optional<std::int32_t> pad_token_id;
  std::optional<bool> do_sample;
  std::optional<double> temperature;
  std::optional<double> top_p;
  std::optional<double> min_p;
  std::optional<std::int64_t> top_k;
  std::optional<double> repetition_penalty;

  // Reads DIR/generation_config.json; without that file, what `model` says.
  static GenerationConfig load(const std::filesystem::path& model_dir, const ModelConfig& model);
  static GenerationConfig parse(const nlohmann::json& config, const ModelConfig& model,
                                std::string_view where);
};

}  // namespace tetrad::model

#include "model/generation_config.h"

#include <nlohmann/json.hpp>

#include "io/json.h"
#include "model/config_fields.h"

namespace tetrad::model {

GenerationConfig GenerationConfig::load(const std::filesystem::path& model_dir, const ModelConfig& model) {
  const auto file = model_dir / "generation_config.json";
  std::error_code ignored;
  if (!std::filesystem::exists(std::filesystem::symlink_status(file, ignored))) {
    return parse(nlohmann::json::object(), model, file.string());
  }
  return parse(io::read_json(file), model, file.string());
}

GenerationConfig GenerationConfig::parse(const nlohmann::json& config, const ModelConfig& model,
                                         std::string_view where) {
  const Fields fields(config, where);
  const auto first_id = [&](const char* name) -> std::optional<std::int32_t> {
    const auto ids = fields.token_ids(name, model.vocab_size);
    if (ids.empty()) return std::nullopt;
    return ids.front();
  };
  GenerationConfig result;
  result.eos_token_ids = fields.token_ids("eos_token_id", model.vocab_size);
  if (!fields.has("eos_token_id")) result.eos_token_ids = model.eos_token_ids;
  result.bos_token_id = first_id("bos_token_id");
  if (!result.bos_token_id) result.bos_token_id = model.bos_token_id;
  result.pad_token_id = first_id("pad_token_id");
  result.do_sample = fields.boolean("do_sample");
  result.temperature = fields.number("temperature", 0.0, 1e6);
  result.top_p = fields.number("top_p", 0.0, 1.0);
  result.min_p = fields.number("min_p", 0.0, 1.0);
  result.top_k = fields.integer("top_k", 0, model.vocab_size > 1'000'000 ? model.vocab_size : 1'000'000);
  result.repetition_penalty = fields.number("repetition_penalty", 1e-6, 1e6);
  return result;
}

}  // namespace tetrad::model

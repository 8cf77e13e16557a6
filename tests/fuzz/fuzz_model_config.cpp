// config.json and generation_config.json. What was accepted has sizes that can be computed with.
#include "fuzz.h"
#include "io/json.h"
#include "model/config.h"
#include "model/generation_config.h"
#include "model/names.h"
#include "model/rope.h"

#include <algorithm>
#include <nlohmann/json.hpp>

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tetrad;
  fuzz::accepts([&] {
    const nlohmann::json json = io::parse_json(fuzz::view(data, size), "config.json");
    model::ModelConfig config;
    fuzz::accepts([&] {
      config = model::ModelConfig::parse(json, "config.json");
      fuzz::require(config.num_attention_heads % config.num_key_value_heads == 0, "heads % kv_heads");
      fuzz::require(config.head_dim % 2 == 0 && config.q_size() > 0 && config.kv_size() > 0, "head sizes");
      // A name for every tensor of thousands of layers takes milliseconds, and is the same for each layer.
      config.num_hidden_layers = std::min<std::int64_t>(config.num_hidden_layers, 8);
      fuzz::require(model::parameter_count(config) > 0, "no parameters");
      model::rope_inverse_frequencies(config);
    });
    fuzz::accepts([&] { model::GenerationConfig::parse(json, config, "generation_config.json"); });
  });
  return 0;
}

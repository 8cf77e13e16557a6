// A random Hugging Face model small enough to be made anew for each test: config.json, tokenizer.json (256
// bytes, a few merges, ChatML's special tokens), chat template and weights, all from a seed. Weights are
// scaled so that logits have about unit variance. Nothing here needs libtorch.
#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "io/dtype.h"

namespace tetrad::test {

// Special tokens of the tiny tokenizer, which has 259 entries; the model's embedding has 264 rows.
inline constexpr std::int32_t tiny_endoftext = 256, tiny_im_start = 257, tiny_im_end = 258;
inline constexpr std::int32_t tiny_vocab = 264;

extern const char* const chatml_template;

// qwen3 with GQA, head_dim other than hidden / heads, an untied head; 256 positions.
nlohmann::json tiny_config();
std::string tiny_tokenizer();

struct Weights {
  std::vector<std::int64_t> shape;
  std::vector<float> values;
};
// Every tensor that the config asks for, by name.
std::map<std::string, Weights> tiny_weights(const nlohmann::json& config, std::uint32_t seed = 1);

void write_weights(const std::filesystem::path& file, const std::map<std::string, Weights>& weights,
                   io::DType dtype = io::DType::f32);

// The whole directory.
void write_tiny_model(const std::filesystem::path& folder, const nlohmann::json& config = tiny_config(),
                      std::uint32_t seed = 1);

}  // namespace tetrad::test

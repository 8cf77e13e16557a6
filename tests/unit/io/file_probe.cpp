// What Tetrad reads out of files, as JSON lines, so that the Python oracles can compare it with what the
// formats' own libraries read. Commands come on stdin, one a line, fields separated by tabs:
//   read FILE           {"tensors": {name: {dtype, shape, sha256}}, "metadata": {...}} or {"error": message}
//   rewrite FILE OUT    reads FILE and writes it again
//   model DIR           what config.json says, the expected tensors, RoPE frequencies, and the check of the
//   weights
#include <fmt/format.h>
#include <tetrad/base/error.h>
#include <tetrad/base/sha256.h>

#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "io/safetensors.h"
#include "io/safetensors_writer.h"
#include "model/generation_config.h"
#include "model/names.h"
#include "model/rope.h"

namespace tetrad {
namespace {

using nlohmann::json;

json read(const std::string& path) {
  const auto file = io::SafetensorsFile::open(path);
  json tensors = json::object();
  for (const io::TensorView& tensor : file.tensors()) {
    Sha256 hash;
    hash.update(tensor.bytes.data(), tensor.bytes.size());
    tensors[tensor.name] = {
        {"dtype", io::dtype_name(tensor.dtype)}, {"shape", tensor.shape}, {"sha256", hash.hex_digest()}};
  }
  return {{"tensors", tensors}, {"metadata", file.metadata()}};
}

json rewrite(const std::string& from, const std::string& to) {
  const auto file = io::SafetensorsFile::open(from);
  std::vector<io::TensorSpec> specs;
  for (const io::TensorView& tensor : file.tensors())
    specs.push_back({tensor.name, tensor.dtype, tensor.shape});
  std::reverse(specs.begin(), specs.end());  // the order of declaration must not matter
  io::SafetensorsWriter writer(to, specs, file.metadata());
  for (const io::TensorView& tensor : file.tensors()) {
    const std::size_t half = tensor.bytes.size() / 2;
    writer.append(tensor.name, tensor.bytes.first(half));
    writer.append(tensor.name, tensor.bytes.subspan(half));
  }
  writer.finish();
  return json::object();
}

json model(const std::string& dir) {
  const auto config = model::ModelConfig::load(dir);
  const auto generation = model::GenerationConfig::load(dir, config);
  const auto rope = model::rope_inverse_frequencies(config);
  const auto weights = io::WeightFiles::open(dir);
  json tensors = json::object();
  for (const auto& tensor : model::expected_tensors(config)) tensors[tensor.name] = tensor.shape;
  return {{"architecture", model::architecture_name(config.architecture)},
          {"num_key_value_heads", config.num_key_value_heads},
          {"head_dim", config.head_dim},
          {"rms_norm_eps", config.rms_norm_eps},
          {"tie_word_embeddings", config.tie_word_embeddings},
          {"dtype", config.dtype ? io::dtype_name(*config.dtype) : ""},
          {"eos_token_ids", generation.eos_token_ids},
          {"parameters", model::parameter_count(config)},
          {"inv_freq", rope.inv_freq},
          {"attention_scaling", rope.attention_scaling},
          {"tensors", tensors},
          {"shards", weights.shards().size()},
          {"ignored", model::check_names(weights, config).ignored}};
}

json answer(const std::vector<std::string>& words) {
  if (words.size() == 2 && words[0] == "read") return read(words[1]);
  if (words.size() == 3 && words[0] == "rewrite") return rewrite(words[1], words[2]);
  if (words.size() == 2 && words[0] == "model") return model(words[1]);
  return {{"error", "unknown command"}};
}

}  // namespace
}  // namespace tetrad

int main() {
  std::string line;
  while (std::getline(std::cin, line)) {
    std::vector<std::string> words;
    std::istringstream in(line);
    for (std::string word; std::getline(in, word, '\t');) words.push_back(word);
    nlohmann::json result;
    try {
      result = tetrad::answer(words);
    } catch (const tetrad::Error& e) {
      result = {{"error", e.what()}};
    }
    std::cout << result.dump() << std::endl;
  }
  return 0;
}

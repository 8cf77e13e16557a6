#include "support/tiny_model.h"

#include <cmath>
#include <cstring>
#include <fstream>
#include <random>
#include <span>

#include "io/safetensors_writer.h"
#include "model/config.h"
#include "model/names.h"
#include "text/utf8.h"

namespace tetrad::test {

using nlohmann::json;

const char* const chatml_template =
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif "
    "%}";

json tiny_config() {
  return {{"architectures", {"Qwen3ForCausalLM"}},
          {"model_type", "qwen3"},
          {"vocab_size", tiny_vocab},
          {"hidden_size", 32},
          {"intermediate_size", 48},
          {"num_hidden_layers", 2},
          {"num_attention_heads", 4},
          {"num_key_value_heads", 2},
          {"head_dim", 16},
          {"max_position_embeddings", 256},
          {"rms_norm_eps", 1e-6},
          {"rope_theta", 10000.0},
          {"tie_word_embeddings", false},
          {"torch_dtype", "float32"},
          {"bos_token_id", tiny_endoftext},
          {"eos_token_id", {tiny_im_end, tiny_endoftext}}};
}

std::string tiny_tokenizer() {
  // GPT-2's alphabet: a printable character for each byte.
  const auto own = [](int b) { return (b >= 0x21 && b < 0x7F) || (b >= 0xA1 && b < 0xAD) || b >= 0xAE; };
  json vocab = json::object();
  char32_t next = 0x100;
  for (int b = 0; b < 256; ++b) {
    std::string character;
    text::append_utf8(character, own(b) ? static_cast<char32_t>(b) : next++);
    vocab[character] = b;
  }
  json added = json::array();
  std::int32_t id = tiny_endoftext;
  for (const char* content : {"<|endoftext|>", "<|im_start|>", "<|im_end|>"}) {
    added.push_back({{"id", id++},
                     {"content", content},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
  }
  const json level = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}};
  return json{{"version", "1.0"},
              {"truncation", nullptr},
              {"padding", nullptr},
              {"added_tokens", added},
              {"normalizer", nullptr},
              {"pre_tokenizer", level},
              {"post_processor", nullptr},
              {"decoder", level},
              {"model",
               {{"type", "BPE"},
                {"dropout", nullptr},
                {"unk_token", nullptr},
                {"continuing_subword_prefix", nullptr},
                {"end_of_word_suffix", nullptr},
                {"fuse_unk", false},
                {"byte_fallback", false},
                {"vocab", vocab},
                {"merges", json::array()}}}}
      .dump();
}

std::map<std::string, Weights> tiny_weights(const json& config, std::uint32_t seed) {
  std::mt19937 random(seed);
  // Irwin-Hall: close to normal, and the same on every machine.
  const auto draw = [&] {
    double sum = -6.0;
    for (int i = 0; i < 12; ++i) sum += static_cast<double>(random()) / 4294967296.0;
    return sum;
  };
  std::map<std::string, Weights> weights;
  for (const model::ExpectedTensor& tensor :
       model::expected_tensors(model::ModelConfig::parse(config, "tiny config"))) {
    Weights& w = weights[tensor.name];
    w.shape = tensor.shape;
    std::int64_t count = 1;
    for (const std::int64_t extent : tensor.shape) count *= extent;
    const double scale = tensor.shape.size() == 1                      ? 0.2
                         : tensor.role == model::TensorRole::embedding ? 1.0
                                                                       : 1.0 / std::sqrt(tensor.shape[1]);
    for (std::int64_t i = 0; i < count; ++i)
      w.values.push_back(static_cast<float>((tensor.shape.size() == 1 ? 1.0 : 0.0) + scale * draw()));
  }
  return weights;
}

void write_weights(const std::filesystem::path& file, const std::map<std::string, Weights>& weights,
                   io::DType dtype) {
  std::vector<std::vector<std::byte>> stored;
  std::vector<io::TensorData> tensors;
  stored.reserve(weights.size());
  for (const auto& [name, w] : weights) {
    std::vector<std::byte>& bytes = stored.emplace_back(w.values.size() * io::dtype_size(dtype));
    if (dtype == io::DType::f32) {
      std::memcpy(bytes.data(), w.values.data(), bytes.size());
    } else if (dtype == io::DType::bf16) {  // cut off, which keeps NaN and infinity
      for (std::size_t i = 0; i < w.values.size(); ++i) {
        std::uint32_t bits = 0;
        std::memcpy(&bits, &w.values[i], sizeof bits);
        bytes[2 * i] = static_cast<std::byte>(bits >> 16);
        bytes[2 * i + 1] = static_cast<std::byte>(bits >> 24);
      }
    }
    tensors.push_back({{name, dtype, w.shape}, bytes});
  }
  io::write_safetensors(file, tensors);
}

void write_tiny_model(const std::filesystem::path& folder, const json& config, std::uint32_t seed) {
  std::filesystem::create_directories(folder);
  const auto write = [&](const char* name, const std::string& text) {
    std::ofstream(folder / name, std::ios::binary) << text;
  };
  write("config.json", config.dump(2));
  write("generation_config.json", json{{"eos_token_id", config.at("eos_token_id")}}.dump());
  write("tokenizer.json", tiny_tokenizer());
  write("tokenizer_config.json",
        json{{"chat_template", chatml_template}, {"eos_token", "<|im_end|>"}}.dump());
  write_weights(folder / "model.safetensors", tiny_weights(config, seed));
}

}  // namespace tetrad::test

// A tiny Llama of one layer in every layout, written without the code under test, for tests to break.
#pragma once

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "unit/io/safetensors_bytes.h"

namespace tetrad::test {

struct Stored {
  std::string dtype;
  std::vector<std::int64_t> shape;
  std::string bytes;
};
using StoredMap = std::map<std::string, Stored>;

inline void write_text(const std::filesystem::path& file, const std::string& text) {
  std::ofstream(file, std::ios::binary) << text;
}

inline std::string read_text(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline void write_weights(const std::filesystem::path& file, const StoredMap& tensors) {
  nlohmann::ordered_json header;
  std::string data;
  for (const auto& [name, tensor] : tensors) {
    header[name] = {{"dtype", tensor.dtype},
                    {"shape", tensor.shape},
                    {"data_offsets", {data.size(), data.size() + tensor.bytes.size()}}};
    data += tensor.bytes;
  }
  write_text(file, safetensors_bytes(header.dump(), data));
}

inline std::string float_bytes(float value) {
  std::string bytes(4, '\0');
  std::memcpy(bytes.data(), &value, 4);
  return bytes;
}

inline nlohmann::json sample_config() {
  return {{"architectures", {"LlamaForCausalLM"}},
          {"model_type", "llama"},
          {"vocab_size", 5},
          {"hidden_size", 32},
          {"intermediate_size", 48},
          {"num_hidden_layers", 1},
          {"num_attention_heads", 2},
          {"num_key_value_heads", 1},
          {"max_position_embeddings", 64},
          {"rms_norm_eps", 1e-5},
          {"rope_theta", 10000.0},
          {"tie_word_embeddings", false},
          {"torch_dtype", "bfloat16"},
          {"eos_token_id", 2}};
}

inline const std::map<std::string, std::vector<std::int64_t>>& sample_linears() {
  static const std::map<std::string, std::vector<std::int64_t>> shapes = {
      {"model.layers.0.self_attn.q_proj", {32, 32}}, {"model.layers.0.self_attn.k_proj", {16, 32}},
      {"model.layers.0.self_attn.v_proj", {16, 32}}, {"model.layers.0.self_attn.o_proj", {32, 32}},
      {"model.layers.0.mlp.gate_proj", {48, 32}},    {"model.layers.0.mlp.up_proj", {48, 32}},
      {"model.layers.0.mlp.down_proj", {32, 48}}};
  return shapes;
}

class Sample {
 public:
  explicit Sample(unsigned seed = 1) : random_(seed) {
    dense("model.embed_tokens.weight", {5, 32});
    dense("model.norm.weight", {32});
    dense("model.layers.0.input_layernorm.weight", {32});
    dense("model.layers.0.post_attention_layernorm.weight", {32});
    dense("lm_head.weight", {5, 32});
  }

  // bf16 values between 1 and 2 in size.
  void dense(const std::string& name, const std::vector<std::int64_t>& shape) {
    std::int64_t n = 1;
    for (const std::int64_t extent : shape) n *= extent;
    std::string bytes;
    for (std::int64_t i = 0; i < n; ++i) {
      bytes += static_cast<char>(random_() & 0xFF);
      bytes += static_cast<char>(0x3F | (random_() & 0x80));
    }
    tensors[name] = {"BF16", shape, bytes};
  }

  std::string codes(std::int64_t rows, std::int64_t cols) {
    std::string bytes;
    for (std::int64_t i = 0; i < rows * cols / 2; ++i) bytes += static_cast<char>(random_() & 0xFF);
    return bytes;
  }
  std::string scales(std::int64_t rows, std::int64_t cols) {
    std::string bytes;
    for (std::int64_t i = 0; i < rows * cols / 16; ++i) bytes += static_cast<char>(random_() % 0x7F);
    return bytes;
  }
  float global() { return std::uniform_real_distribution<float>(0.001F, 0.1F)(random_); }

  void compressed_tensors(bool activations = false) {
    for (const auto& [module, shape] : sample_linears()) {
      tensors[module + ".weight_packed"] = {"U8", {shape[0], shape[1] / 2}, codes(shape[0], shape[1])};
      tensors[module + ".weight_scale"] = {"F8_E4M3", {shape[0], shape[1] / 16}, scales(shape[0], shape[1])};
      tensors[module + ".weight_global_scale"] = {"F32", {1}, float_bytes(1 / global())};
      if (activations) tensors[module + ".input_global_scale"] = {"F32", {1}, float_bytes(global())};
    }
    nlohmann::json args = {{"num_bits", 4},
                           {"type", "float"},
                           {"strategy", "tensor_group"},
                           {"group_size", 16},
                           {"symmetric", true}};
    config["quantization_config"] = {
        {"quant_method", "compressed-tensors"},
        {"format", "nvfp4-pack-quantized"},
        {"quantization_status", "compressed"},
        {"ignore", {"lm_head"}},
        {"config_groups",
         {{"group_0",
           {{"targets", {"Linear"}},
            {"weights", args},
            {"input_activations", activations ? args : nlohmann::json(nullptr)}}}}}};
  }

  void modelopt(bool activations = false) {
    for (const auto& [module, shape] : sample_linears()) {
      tensors[module + ".weight"] = {"U8", {shape[0], shape[1] / 2}, codes(shape[0], shape[1])};
      tensors[module + ".weight_scale"] = {"F8_E4M3", {shape[0], shape[1] / 16}, scales(shape[0], shape[1])};
      tensors[module + ".weight_scale_2"] = {"F32", {}, float_bytes(global())};
      if (activations) tensors[module + ".input_scale"] = {"F32", {}, float_bytes(global())};
    }
    config["quantization_config"] = {{"quant_method", "modelopt"},
                                     {"quant_algo", activations ? "NVFP4" : "W4A16_NVFP4"},
                                     {"ignore", {"lm_head"}}};
  }

  void tetrad(bool lo = false) {
    for (const auto& [module, shape] : sample_linears()) {
      const std::string name = module + ".weight";
      tensors[name + ".codes"] = {"U8", {shape[0], shape[1] / 2}, codes(shape[0], shape[1])};
      tensors[name + ".scales"] = {"F8_E4M3", {shape[0], shape[1] / 16}, scales(shape[0], shape[1])};
      tensors[name + ".decode_scale"] = {"F32", {}, float_bytes(global())};
      if (lo) tensors[name + ".lo_codes"] = {"U8", {shape[0], shape[1] / 2}, codes(shape[0], shape[1])};
    }
    config["quantization_config"] = {{"quant_method", "tetrad"}, {"version", 1}, {"group_size", 16}};
  }

  void all_dense() {
    for (const auto& [module, shape] : sample_linears()) dense(module + ".weight", shape);
  }

  void write(const std::filesystem::path& folder) const {
    std::filesystem::create_directories(folder);
    write_text(folder / "config.json", config.dump());
    write_weights(folder / "model.safetensors", tensors);
  }

  StoredMap tensors;
  nlohmann::json config = sample_config();

 private:
  std::mt19937 random_;
};

// The predecessor's format.
inline std::string leb128(std::uint64_t value) {
  std::string bytes;
  do {
    auto byte = static_cast<unsigned char>(value & 0x7F);
    value >>= 7;
    if (value != 0) byte |= 0x80;
    bytes += static_cast<char>(byte);
  } while (value != 0);
  return bytes;
}

struct DatEntry {
  std::string key;
  std::uint64_t type = 0;
  std::vector<std::uint64_t> shape;
  std::string bytes;
};

inline std::string dat_bytes(const std::vector<DatEntry>& entries) {
  std::string text = leb128(entries.size());
  for (const DatEntry& entry : entries) {
    text += leb128(entry.key.size()) + entry.key + leb128(entry.type) + leb128(entry.shape.size());
    for (const std::uint64_t extent : entry.shape) text += leb128(extent);
    text += entry.bytes;
  }
  return text;
}

// The sample as the predecessor stored it: everything quantised but embedding and norms, the head apart.
inline std::vector<DatEntry> sample_dat() {
  Sample sample(7);
  std::vector<DatEntry> entries;
  for (const auto& [name, tensor] : sample.tensors) {
    if (name == "lm_head.weight") continue;
    std::vector<std::uint64_t> shape(tensor.shape.begin(), tensor.shape.end());
    entries.push_back({name, 15, shape, tensor.bytes});
  }
  auto linears = sample_linears();
  linears["lm_head"] = {5, 32};
  for (const auto& [module, shape] : linears) {
    const auto rows = static_cast<std::uint64_t>(shape[0]), cols = static_cast<std::uint64_t>(shape[1]);
    entries.push_back({module + ".weight.qdata", 0, {rows, cols / 2}, sample.codes(shape[0], shape[1])});
    entries.push_back({module + ".weight.scale", 101, {rows, cols / 16}, sample.scales(shape[0], shape[1])});
  }
  return entries;
}

}  // namespace tetrad::test

// Parity result folders made by tests: a plan, a script and arms with logits, hidden states and updates that
// the test chooses, written through io's own writers as the real ones are.
#pragma once

#include "io/atomic_file.h"
#include "io/safetensors_writer.h"
#include "support/temp_dir.h"

#include <nlohmann/json.hpp>

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <map>
#include <random>
#include <span>
#include <string>
#include <vector>

namespace tetrad::test {

using nlohmann::json;

struct Matrix {
  std::int64_t rows = 0, columns = 0;
  std::vector<float> values;

  float& at(std::int64_t r, std::int64_t c) { return values[static_cast<std::size_t>(r * columns + c)]; }
};

inline Matrix random_matrix(std::int64_t rows, std::int64_t columns, unsigned seed, float scale = 1) {
  Matrix m{rows, columns, std::vector<float>(static_cast<std::size_t>(rows * columns))};
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal(0, scale);
  for (float& v : m.values) v = normal(rng);
  return m;
}

inline Matrix with_noise(Matrix m, float relative, unsigned seed) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal(0, relative);
  for (float& v : m.values) v *= 1 + normal(rng);
  return m;
}

class SyntheticFolder {
 public:
  explicit SyntheticFolder(std::vector<std::int64_t> ids = {1, 5, 3, 0, 2}, std::int64_t vocabulary = 7)
      : ids_(std::move(ids)), vocabulary_(vocabulary) {
    plan = {{"format", "tetrad-parity-plan"},
            {"version", 1},
            {"created_utc", "20261123T220000Z"},
            {"settings", {{"tolerance", json::object()}, {"self_noise_factor", 2.0}}},
            {"swept", json::array({"path"})},
            {"reference", 0},
            {"arms", json::array()}};
    json pieces = json::array();
    for (const std::int64_t id : ids_) pieces.push_back({{"text", " t" + std::to_string(id)}});
    const auto half = static_cast<std::int64_t>(ids_.size()) / 2;
    script = {
        {"format", "tetrad-parity-script"},
        {"version", 1},
        {"ids", ids_},
        {"segments", json::array({{{"kind", "prompt"}, {"turn", 1}, {"begin", 0}, {"end", half}},
                                  {{"kind", "answer"}, {"turn", 1}, {"begin", half}, {"end", ids_.size()}}})},
        {"text_pieces", pieces},
        {"tokenizer_sha256", "tok"},
        {"vocab_size", vocabulary_},
        {"made_by", "reference"}};
  }

  const std::filesystem::path& path() const { return dir_.path(); }
  std::filesystem::path arm_path(std::size_t i) const {
    return dir_.path() / plan["arms"][i]["folder"].get<std::string>();
  }

  // Adds an arm; change `record` of it before write().
  json& add_arm(const std::string& label, json differs = json::array()) {
    const std::size_t index = plan["arms"].size();
    const std::string folder = "arms/" + std::to_string(index);
    plan["arms"].push_back({{"index", index},
                            {"label", label},
                            {"folder", folder},
                            {"values", {{"path", label}}},
                            {"config", {{"path", label}}},
                            {"differs", std::move(differs)},
                            {"error", nullptr}});
    records.push_back(
        {{"format", "tetrad-parity-arm"},
         {"version", 1},
         {"status", "ok"},
         {"error", nullptr},
         {"exit_code", 0},
         {"identity", {{"dtype", "bfloat16"}}},
         {"tokenizer_sha256", "tok"},
         {"vocab_size", vocabulary_},
         {"weights_identity", "w"},
         {"numerics",
          {{"linear",
            {{"bounds", {{"bfloat16", 4e-3}, {"float32", 3e-7}}}, {"weights", {{"reference", "nvfp4"}}}}},
           {"kv_cache", {{"bounds", {{"bfloat16", 0.0}, {"float32", 0.0}}}}}}},
         {"feed", "whole"},
         {"script_sha256", "s"},
         {"positions", ids_.size()},
         {"greedy", json::array({{{"turn", 1},
                                  {"ids", {4, 6}},
                                  {"text", "ab"},
                                  {"pieces", {{{"text", "a"}}, {{"text", "b"}}}},
                                  {"stop_reason", "length"}}})},
         {"first_token",
          {{"position", 1},
           {"top",
            json::array({{{"id", 4}, {"piece", {{"text", "a"}}}, {"logit", 2.0}, {"prob", 0.5}},
                         {{"id", 6}, {"piece", {{"bytes", "e4bd"}}}, {"logit", 1.0}, {"prob", 0.25}}})}}},
         {"perplexity", nullptr},
         {"timing", {{"load_s", 0.5}, {"ttft_s", 0.02}, {"prefill_tok_s", 900.0}, {"decode_tok_s", 70.5}}},
         {"memory", {{"host_peak_bytes", 400e6}, {"device_peak_bytes", 0}, {"kv_bytes", 1234567}}},
         {"iterations", {{"count", 1}, {"equal", true}, {"first_difference", nullptr}}},
         {"training", nullptr}});
    return records.back();
  }

  void logits(std::size_t arm, const Matrix& m) {
    using io::DType;
    std::filesystem::create_directories(arm_path(arm));
    const std::vector<io::TensorData> tensors = {
        {{"input_ids", DType::i64, {static_cast<std::int64_t>(ids_.size())}}, std::as_bytes(std::span(ids_))},
        {{"logits", DType::f32, {m.rows, m.columns}}, std::as_bytes(std::span(m.values))}};
    io::write_safetensors(arm_path(arm) / "logits.safetensors", tensors);
  }

  // Tensors by their stored names, all with as many rows as `positions`.
  void layers(std::size_t arm, const std::map<std::string, Matrix>& tensors) {
    std::vector<std::int64_t> positions(static_cast<std::size_t>(tensors.begin()->second.rows));
    for (std::size_t i = 0; i < positions.size(); ++i) positions[i] = static_cast<std::int64_t>(i) + 1;
    std::vector<io::TensorData> data = {
        {{"positions", io::DType::i64, {static_cast<std::int64_t>(positions.size())}},
         std::as_bytes(std::span(positions))}};
    for (const auto& [name, m] : tensors) {
      data.push_back({{name, io::DType::f32, {m.rows, m.columns}}, std::as_bytes(std::span(m.values))});
    }
    std::filesystem::create_directories(arm_path(arm));
    io::write_safetensors(arm_path(arm) / "layers.safetensors", data);
  }

  void updates(std::size_t arm, const std::map<std::string, Matrix>& tensors) {
    std::vector<io::TensorData> data;
    for (const auto& [name, m] : tensors) {
      data.push_back({{name, io::DType::f32, {m.rows, m.columns}}, std::as_bytes(std::span(m.values))});
    }
    std::filesystem::create_directories(arm_path(arm));
    io::write_safetensors(arm_path(arm) / "updates.safetensors", data);
  }

  // plan.json, script.json and every arm.json.
  const std::filesystem::path& write() {
    io::write_file(dir_.path() / "plan.json", plan.dump());
    if (!script.is_null()) io::write_file(dir_.path() / "script.json", script.dump());
    for (std::size_t i = 0; i < records.size(); ++i) {
      std::filesystem::create_directories(arm_path(i));
      if (!records[i].is_null()) io::write_file(arm_path(i) / "arm.json", records[i].dump());
    }
    return dir_.path();
  }

  std::int64_t vocabulary() const { return vocabulary_; }
  std::int64_t positions() const { return static_cast<std::int64_t>(ids_.size()); }

  json plan, script;
  std::vector<json> records;

 private:
  std::vector<std::int64_t> ids_;
  std::int64_t vocabulary_;
  TempDir dir_;
};

}  // namespace tetrad::test

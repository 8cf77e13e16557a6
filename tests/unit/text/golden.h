// tests/data/text/tokenizers.json and the changes to its base tokenizer.
#pragma once

#include <nlohmann/json.hpp>

#include <fstream>
#include <string>

namespace tetrad::test {

inline const nlohmann::json& golden() {
  static const nlohmann::json data = [] {
    std::ifstream in(TETRAD_SOURCE_DIR "/tests/data/text/tokenizers.json");
    return nlohmann::json::parse(in);
  }();
  return data;
}

// The base tokenizer with fields replaced; "model.x" is a field of the model.
inline nlohmann::json patched(const nlohmann::json& patch) {
  nlohmann::json document = golden().at("base");
  for (const auto& [key, value] : patch.items()) {
    if (key.rfind("model.", 0) == 0) {
      document["model"][key.substr(6)] = value;
    } else {
      document[key] = value;
    }
  }
  return document;
}

inline nlohmann::json variant(const std::string& name) {
  for (const auto& entry : golden().at("variants")) {
    if (entry.at("name") == name) return patched(entry.at("patch"));
  }
  throw std::runtime_error("no variant " + name);
}

}  // namespace tetrad::test

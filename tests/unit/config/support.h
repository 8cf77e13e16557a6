// What the config tests share: two made-up plugins, a fake environment and a folder to write configs into.
#pragma once

#include "config/option_schema.h"
#include "config/resolve.h"
#include "support/temp_dir.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace tetrad::config::test {

inline OptionSchema backend_x() {
  return option_schema_from_json("linear", "backend-x", nlohmann::json::parse(R"([
    {"key": "eval_cache", "type": "bool", "default": true, "doc": "Keep dequantised weights."},
    {"key": "cache", "type": "bool", "deprecated_by": "eval_cache"},
    {"key": "block_size", "type": "int", "default": 16, "min": 1, "max": 64, "doc": "Block."},
    {"key": "level", "type": "int", "default": 3, "min": 0, "max": 8},
    {"key": "scale", "type": "number", "default": 1, "min": 0},
    {"key": "mode", "type": "enum", "default": "fast", "values": ["fast", "exact"]},
    {"key": "label", "type": "string", "default": ""}
  ])"));
}

inline OptionSchema backend_y() {
  return option_schema_from_json("linear", "backend-y", nlohmann::json::parse(R"([
    {"key": "groups", "type": "int", "doc": "Has no default."}
  ])"));
}

// Knows backend-x, backend-y and cache-x (no options); backend-absent is refused, others cannot be told.
inline std::optional<OptionSchema> lookup(const std::string& kind, const std::string& id) {
  if (kind == "linear" && id == "backend-x") return backend_x();
  if (kind == "linear" && id == "backend-y") return backend_y();
  if (kind == "kv_cache" && id == "cache-x") return OptionSchema{kind, id, {}};
  if (id == "backend-absent") throw Error(ExitCode::plugin_refused, "[plugin] no plugin 'backend-absent'");
  return std::nullopt;
}

inline EnvironmentLookup environment() {
  return [](const std::string& name) -> std::optional<std::string> {
    if (name == "TETRAD_WORD") return "word";
    if (name == "TETRAD_EIGHT") return "8";
    if (name == "TETRAD_EMPTY") return "";
    if (name == "TETRAD_BYTES") return "\xFF";
    return std::nullopt;
  };
}

// A folder with configs; files are named relative to it, as a user in that folder would.
class Workplace {
 public:
  void write(const std::string& name, const std::string& text) const { folder_.write(name, text); }
  Surroundings surroundings() const { return {environment(), folder_.path()}; }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }

  Resolved resolve(const std::vector<std::string>& files, const std::vector<std::string>& sets = {}) const {
    return config::resolve(files, sets, lookup, surroundings());
  }
  // The text of the errors; "" when there are none.
  std::string errors(const std::vector<std::string>& files, const std::vector<std::string>& sets = {}) const {
    try {
      resolve(files, sets);
      return {};
    } catch (const ConfigError& e) {
      return e.what();
    }
  }

 private:
  tetrad::test::TempDir folder_;
};

// The least that a config needs, on two lines.
inline const std::string required_keys = "linear: {plugin: backend-x}\nkv_cache: {plugin: cache-x}\n";

}  // namespace tetrad::config::test

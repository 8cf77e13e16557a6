// Configs written into a fresh folder and resolved there, with two made-up plugins.
#pragma once

#include "config/emit.h"
#include "config/option_schema.h"
#include "config/resolve.h"
#include "support/temp_dir.h"

#include <nlohmann/json.hpp>

#include <optional>
#include <string>
#include <vector>

namespace tetrad::config {

class Folder {
 public:
  void write(const std::string& name, const std::string& text) const { folder_.write(name, text); }

  Resolved resolve(const std::vector<std::string>& files, const std::vector<std::string>& sets = {}) const {
    Surroundings surroundings;
    surroundings.environment = [](const std::string& name) -> std::optional<std::string> {
      return name == "LIMIT" ? std::optional<std::string>("12.5") : std::nullopt;
    };
    surroundings.current_directory = folder_.path();
    return config::resolve(files, sets, plugin, surroundings);
  }

  // All error lines; "" when the config is good.
  std::string errors(const std::vector<std::string>& files, const std::vector<std::string>& sets = {}) const {
    try {
      resolve(files, sets);
      return "";
    } catch (const ConfigError& e) {
      return e.what();
    }
  }

 private:
  static std::optional<OptionSchema> plugin(const std::string& kind, const std::string& id) {
    if (id == "plain") return OptionSchema{kind, id, {}};
    if (id != "rich") throw Error(ExitCode::plugin_refused, "[plugin] there is no plugin '" + id + "'");
    return option_schema_from_json(kind, id, nlohmann::json::parse(R"([
      {"key": "cache", "type": "bool", "default": true},
      {"key": "level", "type": "int", "default": 3, "min": 0, "max": 9},
      {"key": "growth", "type": "number", "default": 1.5, "min": 1},
      {"key": "mode", "type": "enum", "default": "fast", "values": ["fast", "exact"]},
      {"key": "label", "type": "string", "default": "10"}
    ])"));
  }

  tetrad::test::TempDir folder_;
};

inline const std::string both_plugins = "linear: {plugin: rich}\nkv_cache: {plugin: plain}\n";

}  // namespace tetrad::config

#include "cli/launch/prepare.h"

#include "config/emit.h"
#include "config/option_schema.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>

namespace tetrad::cli {

using nlohmann::json;

namespace {

constexpr const char* built_in_sensor = "guard-host";

// A driver's device nodes: discrete cards and GB10, Jetson, Windows' subsystem. Its library is not loaded
// here.
bool has_nvidia_device() {
  std::error_code failed;
  for (const char* node : {"/dev/nvidiactl", "/dev/nvhost-gpu", "/dev/dxg"}) {
    if (std::filesystem::exists(node, failed)) return true;
  }
  return false;
}

}  // namespace

plugin::Registry open_registry(const std::vector<std::string>& plugin_paths,
                               const std::vector<std::string>& files, const std::vector<std::string>& sets) {
  const std::vector<std::string> configured =
      files.empty() ? std::vector<std::string>{} : config::plugin_search_paths(config::compose(files, sets));
  return plugin::Registry(plugin::search_places(plugin_paths, configured));
}

config::OptionLookup option_lookup(const plugin::Registry& registry) {
  return [&registry](const std::string& kind, const std::string& id) -> std::optional<config::OptionSchema> {
    const plugin::Candidate candidate = registry.find(kind, id);
    return config::option_schema_from_json(kind, id, candidate.metadata->options_for(kind));
  };
}

std::vector<config::OptionSchema> all_option_schemas(const plugin::Registry& registry) {
  std::vector<config::OptionSchema> schemas;
  for (const plugin::Candidate& candidate : registry.candidates()) {
    if (!candidate.usable()) continue;
    for (const std::string& kind : candidate.metadata->kinds) {
      schemas.push_back(
          config::option_schema_from_json(kind, candidate.id, candidate.metadata->options_for(kind)));
    }
  }
  return schemas;
}

Prepared prepare(const ConfigRequest& request) {
  const plugin::Registry registry = open_registry(request.plugin_paths, request.files, request.sets);
  Prepared prepared{
      config::resolve(request.files, request.sets, option_lookup(registry)), {}, {}, {}, {}, {}};
  for (const config::Diagnostic& warning : prepared.resolved.warnings) {
    if (!request.quiet) std::fprintf(stderr, "%s\n", warning.to_string().c_str());
  }
  prepared.config = config::to_json(prepared.resolved.root);
  prepared.hash = config::config_hash(prepared.resolved.root);
  for (const char* kind : {"linear", "kv_cache", "optimizer"}) {
    if (prepared.config.at(kind).at("plugin").is_null()) continue;  // a run that needs no optimizer
    const auto id = prepared.config.at(kind).at("plugin").get<std::string>();
    const plugin::Candidate candidate = registry.find(kind, id);
    prepared.plugins.push_back({kind, candidate.id, candidate.file.string(), candidate.metadata->version,
                                candidate.metadata->to_json()});
    prepared.build_ids.push_back(candidate.build_id);
  }
  prepared.sensors =
      choose_sensors(registry, prepared.config.at("guard").at("sensors").get<std::vector<std::string>>());
  if (prepared.config.at("train").at("export_dir").is_string()) {
    for (const plugin::Candidate& candidate : registry.candidates()) {
      if (!candidate.usable() || candidate.id != "backend-bf16") continue;
      prepared.plugins.push_back({export_linear, candidate.id, candidate.file.string(),
                                  candidate.metadata->version, candidate.metadata->to_json()});
      prepared.build_ids.push_back(candidate.build_id);
    }
  }
  if (!request.other_optimizers) return prepared;
  for (const plugin::Candidate& candidate : registry.candidates()) {
    const json& chosen = prepared.config.at("optimizer").at("plugin");
    if (!candidate.usable() || candidate.id == chosen) continue;
    const std::vector<std::string>& kinds = candidate.metadata->kinds;
    if (std::find(kinds.begin(), kinds.end(), "optimizer") == kinds.end()) continue;
    prepared.plugins.push_back({other_optimizer, candidate.id, candidate.file.string(),
                                candidate.metadata->version, candidate.metadata->to_json()});
    prepared.build_ids.push_back(candidate.build_id);
  }
  return prepared;
}

std::vector<SensorChoice> choose_sensors(const plugin::Registry& registry,
                                         const std::vector<std::string>& ids) {
  std::vector<SensorChoice> sensors;
  const auto add_if_there = [&](const char* id) {
    for (const plugin::Candidate& candidate : registry.candidates()) {
      if (candidate.id == id && candidate.usable())
        sensors.push_back({candidate.id, candidate.file.string()});
    }
  };
  if (ids.empty()) {
    add_if_there(built_in_sensor);
    if (has_nvidia_device()) add_if_there("guard-nvml");
    return sensors;
  }
  for (const std::string& id : ids) {
    if (id == built_in_sensor) {
      add_if_there(built_in_sensor);
      continue;
    }
    const plugin::Candidate candidate = registry.find("guard", id);
    sensors.push_back({candidate.id, candidate.file.string()});
  }
  return sensors;
}

std::string sensor_names(const std::vector<SensorChoice>& sensors) {
  std::string names = built_in_sensor;
  for (const SensorChoice& sensor : sensors) {
    if (sensor.id != built_in_sensor) names += "," + sensor.id;
  }
  return names;
}

guard::Settings guard_settings(const json& config) {
  const json& section = config.at("guard");
  guard::Settings settings;
  const auto limit = [&](const char* key) -> guard::LimitSetting {
    const json& value = section.at(key);
    if (value.is_number()) return value.get<double>();
    return value == "auto" ? guard::LimitWord::automatic : guard::LimitWord::none;
  };
  settings.limit_gb = limit("limit_gb");
  settings.soft_gb = limit("soft_gb");
  settings.allow_blind = section.at("allow_blind").get<bool>();
  settings.over_secs = section.at("over_secs").get<double>();
  settings.poll_secs = section.at("poll_secs").get<double>();
  settings.host_floor_gb = section.at("host_floor_gb").get<double>();
  return settings;
}

}  // namespace tetrad::cli

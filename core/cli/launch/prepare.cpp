#include "cli/launch/prepare.h"

#include "config/emit.h"
#include "config/option_schema.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>

#include <cstdio>

namespace tetrad::cli {

using nlohmann::json;

namespace {

constexpr const char* built_in_sensor = "guard-host";

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
  Prepared prepared{config::resolve(request.files, request.sets, option_lookup(registry)), {}, {}, {}, {}};
  for (const config::Diagnostic& warning : prepared.resolved.warnings) {
    std::fprintf(stderr, "%s\n", warning.to_string().c_str());
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
  return prepared;
}

guard::Settings guard_settings(const json& config) {
  const json& section = config.at("guard");
  for (const json& sensor : section.at("sensors")) {
    if (sensor != built_in_sensor) {
      throw Error(
          ExitCode::plugin_refused,
          fmt::format(
              "[guard] guard.sensors: this version has no sensor '{}'; it watches host memory through its "
              "own '{}', which need not be named",
              sensor.get<std::string>(), built_in_sensor));
    }
  }
  guard::Settings settings;
  const json& limit = section.at("limit_gb");
  if (limit.is_number()) {
    settings.limit_gb = limit.get<double>();
  } else if (limit == "auto") {
    settings.limit_gb = guard::LimitWord::automatic;
  }
  settings.over_secs = section.at("over_secs").get<double>();
  settings.poll_secs = section.at("poll_secs").get<double>();
  settings.host_floor_gb = section.at("host_floor_gb").get<double>();
  return settings;
}

}  // namespace tetrad::cli

#include "cli/launch/guarded.h"

#include "sdk/base/or_null.h"

#include <system_error>

namespace tetrad::cli {

using nlohmann::json;
namespace fs = std::filesystem;

Supervision guarded(const Prepared& prepared) {
  const guard::Capacity capacity = guard::read_capacity();
  const guard::Settings settings = guard_settings(prepared.config);
  Supervision supervision;
  supervision.limits = guard::make_limits(settings, capacity);
  supervision.allow_blind = settings.allow_blind;
  supervision.sensors = prepared.sensors;
  const json& section = prepared.config.at("guard");
  if (section.at("log").is_string()) supervision.log_file = section.at("log").get<std::string>();
  supervision.log_mb = section.at("log_mb").get<double>();
  supervision.opening_lines = {
      guard::describe(*supervision.limits, capacity, sensor_names(prepared.sensors))};
  return supervision;
}

runs::Ending ending_of(const Outcome& outcome) {
  runs::Ending ending;
  ending.exit_code = outcome.exit_code;
  ending.reason = outcome.reason;
  switch (outcome.end) {
    case End::guard:
      ending.state = "guard";
      break;
    case End::interrupted:
      ending.state = "interrupted";
      break;
    case End::crashed:
      ending.state = "crashed";
      break;
    case End::ended:
      ending.state = outcome.exit_code == 0 ? "ok" : "failed";
      break;
  }
  if (outcome.peak_tree_bytes || outcome.lowest_available_bytes) {
    ending.guard = {{"peak_tree_bytes", or_null(outcome.peak_tree_bytes)},
                    {"lowest_available_bytes", or_null(outcome.lowest_available_bytes)}};
  }
  return ending;
}

std::string shown_path(const fs::path& folder) {
  std::error_code failed;
  const fs::path near = folder.lexically_relative(fs::current_path(failed));
  return failed || near.empty() || *near.begin() == ".." ? folder.string() : near.string();
}

json plugin_records(const Prepared& prepared) {
  json plugins = json::array();
  for (std::size_t i = 0; i < prepared.plugins.size(); ++i) {
    const PluginRef& plugin = prepared.plugins[i];
    plugins.push_back({{"kind", plugin.kind},
                       {"id", plugin.id},
                       {"version", plugin.version},
                       {"file", plugin.file},
                       {"build_id", prepared.build_ids[i]}});
  }
  return plugins;
}

}  // namespace tetrad::cli

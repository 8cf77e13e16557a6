// From a command line's config arguments to everything that a run needs before the engine starts: the
// resolved config, the plugins it names (found and judged, not loaded), the limits of the guard. All that can
// be wrong is found here.
#pragma once

#include "cli/protocol/messages.h"
#include "cli/supervise/supervisor.h"
#include "config/resolve.h"
#include "guard/settings.h"
#include "plugin/registry.h"

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

namespace tetrad::cli {

struct ConfigRequest {
  std::vector<std::string> files;         // --config
  std::vector<std::string> sets;          // --set
  std::vector<std::string> plugin_paths;  // --plugin-path
  bool other_optimizers = false;          // the usable optimizers that the config does not choose, too
  bool quiet = false;  // warnings are the caller's to show: they stand in Prepared::resolved
};

// Kind under which the optimizers that were not chosen stand in Prepared::plugins.
inline constexpr const char* other_optimizer = "other optimizer";

// Kind of the backend that reads a dense export, where a training run makes one (train.export_dir).
inline constexpr const char* export_linear = "linear of the export";

struct Prepared {
  config::Resolved resolved;
  nlohmann::json config;  // resolved, as the engine gets it
  std::string hash;
  std::vector<PluginRef> plugins;
  std::vector<std::string> build_ids;  // of plugins, in their order
  std::vector<SensorChoice> sensors;   // of the guard
};

// The plugins that `request` lets us see; reads plugins.path of the files without checking the rest of them.
plugin::Registry open_registry(const std::vector<std::string>& plugin_paths,
                               const std::vector<std::string>& files, const std::vector<std::string>& sets);

// The option schema of a plugin in `registry`, for config::resolve(); the registry must outlive it.
config::OptionLookup option_lookup(const plugin::Registry& registry);

// Option schemas of every usable plugin, one for each of its kinds.
std::vector<config::OptionSchema> all_option_schemas(const plugin::Registry& registry);

// Throws ConfigError or Error(plugin_refused). Warnings go to stderr, unless `quiet`.
Prepared prepare(const ConfigRequest& request);

// The sensors that `ids` name; with no ids those that this machine has a use for, as far as their plugins are
// found. Throws Error(plugin_refused) for an id that names none. "guard-host" is built in: its plugin, where
// it is found, adds what is slow to read.
std::vector<SensorChoice> choose_sensors(const plugin::Registry& registry,
                                         const std::vector<std::string>& ids);

// "guard-host,guard-nvml", for describe().
std::string sensor_names(const std::vector<SensorChoice>& sensors);

// The guard section.
guard::Settings guard_settings(const nlohmann::json& config);

}  // namespace tetrad::cli

// The folder of one run, `<run.dir>/<UTC time>-<config name>`: what was asked for, stored before anything
// starts.
//   config.yaml   the resolved config, which reads back as the same config
//   config.json   the same as JSON with its hash, versions, command line, files, overrides and plugins with
//   build ids
// The engine adds record.json. Files appear whole (written beside and renamed).
#pragma once

#include <nlohmann/json.hpp>

#include <filesystem>
#include <string>

namespace tetrad::cli {

struct RunFolderContents {
  std::string config_yaml;
  nlohmann::json description;  // becomes config.json
};

// Name part of a config file: its stem, with everything but letters, digits, '.', '_' and '-' replaced by
// '-'; "run" without a file.
std::string run_name(const std::string& config_file);

// "20261123T092801Z"
std::string utc_stamp(std::int64_t unix_seconds);

// Creates `parent` if need be and a new folder in it ("-2", "-3" ... when the name is taken). Returns its
// absolute path. Throws Error naming the path and the system's reason; nothing is left behind then.
std::filesystem::path create_run_folder(const std::filesystem::path& parent, const std::string& name,
                                        std::int64_t unix_seconds, const RunFolderContents& contents);

}  // namespace tetrad::cli

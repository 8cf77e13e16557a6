// Where plugins are looked for, in order of precedence: --plugin-path, the config's plugins.path,
// TETRAD_PLUGIN_PATH, and the folder installed beside the program. Never the working directory, never the
// model's. Folders are not entered recursively.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace tetrad::plugin {

enum class PlaceClass { command_line, config, environment, install, explicit_path };

// As people know it: "--plugin-path", "plugins.path", "TETRAD_PLUGIN_PATH", "install folder", "explicit
// path".
const char* place_name(PlaceClass place) noexcept;

struct Place {
  PlaceClass cls = PlaceClass::install;
  std::filesystem::path folder;  // absolute
  std::string note;  // what was found there: "2 plugin files", "does not exist", "refused: world-writable"
};

// `command_line` and `config` as given (a relative folder is taken from the working directory, because the
// user named it); the environment variable and the program's own place are read here. The install folder is
// <folder of the program>/../lib/tetrad/plugins, or ../../lib/tetrad/plugins for a program under libexec/.
std::vector<Place> search_places(const std::vector<std::string>& command_line,
                                 const std::vector<std::string>& config);

}  // namespace tetrad::plugin

#include "plugin/search.h"

#include <cstdlib>
#include <string_view>

namespace tetrad::plugin {
namespace {

namespace fs = std::filesystem;

void add(std::vector<Place>& places, PlaceClass cls, const std::string& folder) {
  if (folder.empty()) return;
  std::error_code ignored;
  fs::path path = fs::absolute(folder, ignored).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();  // a trailing slash
  places.push_back({cls, std::move(path), {}});
}

fs::path install_folder() {
  std::error_code ec;
  const fs::path program = fs::read_symlink("/proc/self/exe", ec);
  if (ec) return {};
  const fs::path folder = program.parent_path();
  const fs::path prefix = folder.parent_path().filename() == "libexec" ? folder.parent_path().parent_path()
                                                                       : folder.parent_path();
  return prefix / "lib" / "tetrad" / "plugins";
}

}  // namespace

const char* place_name(PlaceClass place) noexcept {
  switch (place) {
    case PlaceClass::command_line:
      return "--plugin-path";
    case PlaceClass::config:
      return "plugins.path";
    case PlaceClass::environment:
      return "TETRAD_PLUGIN_PATH";
    case PlaceClass::install:
      return "install folder";
    case PlaceClass::explicit_path:
      return "explicit path";
  }
  return "unknown";
}

std::vector<Place> search_places(const std::vector<std::string>& command_line,
                                 const std::vector<std::string>& config) {
  std::vector<Place> places;
  for (const std::string& folder : command_line) add(places, PlaceClass::command_line, folder);
  for (const std::string& folder : config) add(places, PlaceClass::config, folder);
  if (const char* variable = std::getenv("TETRAD_PLUGIN_PATH")) {
    std::string_view rest = variable;
    while (!rest.empty()) {
      const std::size_t colon = rest.find(':');
      add(places, PlaceClass::environment, std::string(rest.substr(0, colon)));
      rest = colon == std::string_view::npos ? std::string_view() : rest.substr(colon + 1);
    }
  }
  add(places, PlaceClass::install, install_folder().string());
  return places;
}

}  // namespace tetrad::plugin

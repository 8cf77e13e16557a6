#include "cli/launch/engine_path.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>
#include <unistd.h>

namespace tetrad::cli {

namespace fs = std::filesystem;

fs::path program_folder() {
  std::error_code failed;
  const fs::path program = fs::read_symlink("/proc/self/exe", failed);
  if (failed)
    throw Error(
        fmt::format("[host] cannot find out where this program lies: /proc/self/exe: {}", failed.message()));
  return program.parent_path();
}

fs::path find_engine(const fs::path& folder) {
  const fs::path beside = folder / engine_name;
  const fs::path installed = (folder.parent_path() / "libexec" / "tetrad" / engine_name);
  for (const fs::path& candidate : {beside, installed}) {
    if (::access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  throw Error(
      fmt::format("[host] the engine is missing: neither {} nor {} is a program; build it with "
                  "'cmake --build build' (TETRAD_ENGINE=ON) or install again",
                  beside.string(), installed.string()));
}

std::string engine_file(const std::string& named) {
  return named.empty() ? find_engine(program_folder()).string() : named;
}

}  // namespace tetrad::cli

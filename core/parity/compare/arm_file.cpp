#include "parity/compare/arm_file.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>

namespace tetrad::parity {

void refuse(const std::filesystem::path& file, const std::string& what) {
  throw Error(ExitCode::usage, fmt::format("[parity] {}: {}", file.string(), what));
}

io::SafetensorsFile open_tensors(const std::filesystem::path& file, std::string_view remedy) {
  try {
    return io::SafetensorsFile::open(file);
  } catch (const Error& error) {
    throw Error(ExitCode::usage, fmt::format("[parity] {}{}", error.what(), remedy));
  }
}

}  // namespace tetrad::parity

#include "cli/engine/input_file.h"

#include <tetrad/base/error.h>

#include <fstream>

namespace tetrad::cli {

std::string read_input_file(const std::string& path, const char* tag, const char* what, std::size_t longest) {
  const auto fail = [&](const std::string& why) {
    throw Error(ExitCode::usage, std::string("[") + tag + "] cannot read " + what + " '" + path + "'" + why);
  };
  std::ifstream file(path, std::ios::binary);
  if (!file) fail("");
  constexpr std::size_t piece = std::size_t{1} << 20;
  std::string text;
  std::size_t size = 0;
  while (file) {
    text.resize(size + piece);
    file.read(text.data() + size, piece);
    size += static_cast<std::size_t>(file.gcount());
    if (size > longest) fail(": it holds more than " + std::to_string(longest) + " bytes");
  }
  if (file.bad()) fail("");
  text.resize(size);
  return text;
}

}  // namespace tetrad::cli

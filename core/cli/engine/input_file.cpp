#include "cli/engine/input_file.h"

#include <tetrad/base/error.h>

#include <fstream>
#include <iterator>

namespace tetrad::cli {

std::string read_input_file(const std::string& path, const char* tag, const char* what) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    throw Error(ExitCode::usage, std::string("[") + tag + "] cannot read " + what + " '" + path + "'");
  }
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

}  // namespace tetrad::cli

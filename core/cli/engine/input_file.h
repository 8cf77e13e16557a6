// Reads the text files that a command line names.
#pragma once

#include <string>

namespace tetrad::cli {

// All bytes of `path`. Throws Error(usage) "[tag] cannot read WHAT 'path'".
std::string read_input_file(const std::string& path, const char* tag, const char* what);

}  // namespace tetrad::cli

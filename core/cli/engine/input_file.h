// Reads the text files that a command line names.
#pragma once

#include <cstddef>
#include <string>

namespace tetrad::cli {

inline constexpr std::size_t max_prompt_bytes = std::size_t{64} << 20;
inline constexpr std::size_t max_text_bytes = std::size_t{1} << 30;

// All bytes of `path`, which may be a pipe. Throws Error(usage) "[tag] cannot read WHAT 'path'", also when it
// holds more than `longest` bytes: a device may never end.
std::string read_input_file(const std::string& path, const char* tag, const char* what, std::size_t longest);

}  // namespace tetrad::cli

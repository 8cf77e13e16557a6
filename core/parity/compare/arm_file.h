// Reading the files that an arm left: what is wrong with one is Error(usage) that begins with its path.
#pragma once

#include "io/safetensors.h"

#include <filesystem>
#include <string>
#include <string_view>

namespace tetrad::parity {

[[noreturn]] void refuse(const std::filesystem::path& file, const std::string& what);

// `remedy` is added to the reason why it cannot be opened.
io::SafetensorsFile open_tensors(const std::filesystem::path& file, std::string_view remedy = "");

}  // namespace tetrad::parity

// Where the engine lies: beside this program (build tree), or in ../libexec/tetrad (installed). Never PATH,
// never the working directory, no environment variable: what runs is what was built together.
#pragma once

#include <filesystem>
#include <string>

namespace tetrad::cli {

inline constexpr const char* engine_name = "tetrad-engine";

// Folder of the running executable. Throws Error where /proc is missing.
std::filesystem::path program_folder();

// Throws Error naming every place where it was looked for.
std::filesystem::path find_engine(const std::filesystem::path& program_folder);

// The engine to start: the one that was named (--engine), or, with "", the one that belongs to this program.
std::string engine_file(const std::string& named);

}  // namespace tetrad::cli

// Reads what Tetrad needs to know about a shared library out of the file, without loading it: the `Tetrad`
// note (metadata, as JSON text), build id, machine, the libraries it needs and, on request, its dynamic
// symbols. The file is treated as hostile: every offset is checked against the file's size before it is used,
// sizes are bounded before anything is allocated, and a problem becomes text in `problem`, never an exception
// or a crash. What could be read before a problem was met stays in the result, so that a damaged file can
// still be inspected.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace tetrad::plugin {

enum class ElfDetail {
  note,     // header, program headers, notes, needed libraries: some kilobytes whatever the file's size
  symbols,  // and the dynamic symbol table
};

struct ElfImage {
  std::string problem;  // why this is not a whole shared library for this machine; empty when it is one
  std::string machine;  // "x86_64", "aarch64" or "machine 8"; empty when the header is unreadable
  std::optional<std::string> note;  // text of the Tetrad note
  std::string build_id;             // hex, empty when the file has none
  std::string soname;
  std::vector<std::string> needed;    // DT_NEEDED in file order
  std::vector<std::string> run_path;  // DT_RPATH or DT_RUNPATH
  std::vector<std::string> exported;  // ElfDetail::symbols: defined dynamic symbols
  std::vector<std::string> imported;  // ElfDetail::symbols: undefined dynamic symbols
};

inline constexpr std::uint32_t kNoteType = 1;
inline constexpr const char* kNoteName = "Tetrad";

// Name of the machine this program was built for, as in ElfImage::machine.
const char* host_machine() noexcept;

ElfImage read_elf(const std::filesystem::path& file, ElfDetail detail = ElfDetail::note);

// The build id of this program's own file; "none" where it has none.
std::string own_build_id();

}  // namespace tetrad::plugin

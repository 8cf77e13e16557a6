// manifest.json of a checkpoint: {"checkpoint": {...}, "sha256": checksum of that object's compact dump}. It
// is what makes a folder a checkpoint: format version, step, identity, and for every file its size and either
// its checksum or the list of its tensors with theirs. Reading checks the form of everything; names cannot
// lead out of the folder.
#pragma once

#include "io/safetensors_writer.h"
#include "train/checkpoint/checkpoint.h"

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace tetrad::train {

struct ManifestTensor {
  io::TensorSpec spec;
  std::string xxh3;  // checksum.h
};

struct ManifestGroup {
  std::string name;         // the file is <name>.safetensors
  std::uint64_t bytes = 0;  // of the file
  std::vector<ManifestTensor> tensors;
};

struct Manifest {
  std::int64_t step = 0;
  Identity identity;
  std::uint64_t state_bytes = 0;
  std::string state_sha256;
  std::vector<ManifestGroup> groups;
};

inline constexpr std::string_view manifest_name = "manifest.json", state_name = "state.json";

std::string group_file(std::string_view group);
// Lower-case letters, digits and '-', 1 to 40 of them.
bool is_group_name(std::string_view name);

std::string manifest_text(const Manifest& manifest);
// Throws Error "[checkpoint] FILE: ..." for a file that is damaged, of another format, or not as
// manifest_text() writes it.
Manifest read_manifest(const std::filesystem::path& file);

}  // namespace tetrad::train

// Reads the predecessor's weight file (.dat): an unsigned LEB128 entry count; for each entry the key's
// length, the key, the element type's id, the number of dimensions and the dimensions, all unsigned LEB128,
// then the raw bytes. The file is mapped and treated as hostile. Contract: after open() every tensor's bytes
// lie inside the file, keys are unique, sizes equal shape times element size, and the last entry ends with
// the file. Views need not be aligned.
#pragma once

#include <filesystem>
#include <vector>

#include "io/mapped_file.h"
#include "io/safetensors.h"

namespace tetrad::checkpoint {

class DatFile {
 public:
  // Throws Error "[dat] FILE: ..." with the entry and the offset.
  static DatFile open(const std::filesystem::path& file);

  // In the order of the file. Type 101 is F8_E4M3, 100 (packed codes) U8.
  const std::vector<io::TensorView>& tensors() const noexcept { return tensors_; }
  const io::MappedFile& mapping() const noexcept { return file_; }

  // As io::WeightFiles::identity(): size, entries, and samples of every tensor.
  std::string identity() const;

 private:
  explicit DatFile(io::MappedFile file) : file_(std::move(file)) {}
  void parse();

  io::MappedFile file_;
  std::vector<io::TensorView> tensors_;
};

}  // namespace tetrad::checkpoint

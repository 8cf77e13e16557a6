// Writes one safetensors file, crash-safe (AtomicFile): the tensors are declared first, so the header and
// every offset are known, and their bytes may then come in any order and in pieces. Contract: finish()
// refuses unless every declared byte was written exactly once in sequence per tensor; before finish() the
// target is untouched. The layout is what the format's own library writes: widest element types first, then
// by name, data aligned to 8 bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/atomic_file.h"
#include "io/dtype.h"

namespace tetrad::io {

struct TensorSpec {
  std::string name;
  DType dtype = DType::f32;
  std::vector<std::int64_t> shape;
};

class SafetensorsWriter {
 public:
  // Throws Error for a duplicate or reserved name, a negative extent, a size that overflows, or an unwritable
  // target.
  SafetensorsWriter(const std::filesystem::path& target, std::vector<TensorSpec> tensors,
                    const std::map<std::string, std::string>& metadata = {});

  // Appends bytes to a tensor; a large tensor may come in pieces. Throws Error when the name is unknown or
  // the tensor would get more than its size.
  void append(std::string_view name, std::span<const std::byte> bytes);

  // Flushes and moves the file into place. Throws Error naming the tensors that are not complete.
  void finish();

  // Bytes of the whole file.
  std::uint64_t file_bytes() const noexcept { return file_bytes_; }

 private:
  struct Slot {
    std::uint64_t offset = 0;  // in the file
    std::uint64_t size = 0;
    std::uint64_t written = 0;
  };

  AtomicFile file_;
  std::map<std::string, Slot, std::less<>> slots_;
  std::uint64_t file_bytes_ = 0;
};

// A tensor with its bytes, for write_safetensors().
struct TensorData {
  TensorSpec spec;
  std::span<const std::byte> bytes;
};

// Writes all at once.
void write_safetensors(const std::filesystem::path& target, std::span<const TensorData> tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace tetrad::io

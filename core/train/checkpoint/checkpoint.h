// One training checkpoint on disk, read: a folder step-NNNNNNNN with manifest.json, state.json and
// <group>.safetensors files. The manifest names every file with its size and every tensor with its shape and
// checksum, and is written last, so a folder without a whole manifest is no checkpoint. Contract: everything
// in the folder is treated as hostile; open() believes nothing that it has not checked; restore() hands out
// the first byte only after all of it was verified, so a damaged checkpoint never changes a live run.
#pragma once

#include "io/dtype.h"
#include "io/safetensors_writer.h"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tetrad::train {

inline constexpr int checkpoint_format = 1;

// What a checkpoint must belong to, e.g. {"architecture": ..., "tokenizer": ..., "optimizer": ...}. Compared
// key by key when a run resumes.
using Identity = std::map<std::string, std::string>;

class Checkpoint {
 public:
  // Reads the manifest and checks it against the files: their sizes, their headers, every tensor's dtype,
  // shape and size. Reads no tensor. Throws Error "[checkpoint] FOLDER: ..." naming file and reason; a format
  // that this version does not know is refused by its number.
  static Checkpoint open(const std::filesystem::path& folder);

  Checkpoint(Checkpoint&&) noexcept;
  Checkpoint& operator=(Checkpoint&&) noexcept;
  ~Checkpoint();

  std::int64_t step() const noexcept;
  const Identity& identity() const noexcept;
  const std::filesystem::path& folder() const noexcept;
  // The run's state as it was saved: schedule, RNG, data cursor, ... (state.json, verified by open()).
  const nlohmann::json& state() const noexcept;
  // All tensors, by group and then as the file has them. Names are unique in all groups together.
  const std::vector<io::TensorSpec>& tensors() const noexcept;
  std::uint64_t bytes() const noexcept;  // of all files

  // Reads every byte and compares checksums. Throws Error naming the first tensor that differs. Memory: pages
  // of one tensor at a time.
  void verify() const;

  // Throws Error listing every difference: a key of `expected` that the checkpoint has otherwise or not at
  // all, and keys it has beyond that.
  void require_identity(const Identity& expected) const;
  // Throws Error listing every tensor that is missing, left over, or of another dtype or shape.
  void require_tensors(const std::vector<io::TensorSpec>& expected) const;

  // Verifies everything (unless verify() has been called), then hands out each tensor's bytes once, whole and
  // in the order of the files. A throwing `take` ends it; the caller applies what it took only after return.
  using Take = std::function<void(const io::TensorSpec&, std::span<const std::byte>)>;
  void restore(const Take& take) const;
  // One tensor's bytes, for as long as this object lives; unverified unless verify() ran.
  std::span<const std::byte> tensor(std::string_view name) const;

 private:
  struct Content;
  explicit Checkpoint(std::unique_ptr<Content> content);
  std::unique_ptr<Content> content_;
};

}  // namespace tetrad::train

// A directory that appears complete or not at all: files are written into a hidden sibling, which is flushed
// and renamed into place at the end. Contract: the target must not exist (an empty directory may); without
// commit() everything that was written is removed, and what a killed process leaves behind is called
// ".NAME.XXXXXXXX.tmp", so that nobody takes it for a model.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace tetrad::checkpoint {

class NewDirectory {
 public:
  // Creates the sibling. Throws Error(usage) when the target is there already or its parent is not writable.
  // `who` is the tag of the errors.
  explicit NewDirectory(const std::filesystem::path& target, std::string_view who = "convert");
  ~NewDirectory();
  NewDirectory(const NewDirectory&) = delete;
  NewDirectory& operator=(const NewDirectory&) = delete;

  // Where to write.
  const std::filesystem::path& path() const noexcept { return temporary_; }
  const std::filesystem::path& target() const noexcept { return target_; }

  // Throws Error unless the file system has room for so many bytes.
  void require_space(std::uint64_t bytes) const;

  // Flushes the directory and moves it into place.
  void commit();

 private:
  std::string who_;
  std::filesystem::path target_;
  std::filesystem::path temporary_;  // empty once committed
};

}  // namespace tetrad::checkpoint

// Writing a file so that a crash, a full disk or a kill leaves either the old file or the whole new one: the
// bytes go into a temporary sibling, which is flushed to the disk and renamed over the target, and then the
// directory is flushed. Contract: before commit() the target is untouched; without commit() the temporary
// file is removed. A target that exists and is no regular file (a device, a pipe) is refused; a symbolic link
// is followed, not replaced.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace tetrad::io {

class AtomicFile {
 public:
  // Creates the temporary file beside `target`. Throws Error when that is impossible.
  explicit AtomicFile(const std::filesystem::path& target);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  // Sets the file's length and reserves its blocks where the file system can, so that a full disk shows at
  // once.
  void resize(std::uint64_t bytes);

  // Writes all of `bytes` at `offset`.
  void write_at(std::uint64_t offset, std::span<const std::byte> bytes);

  // Flushes, renames and flushes the directory. After an exception the target is what it was.
  void commit();

  const std::filesystem::path& target() const noexcept { return target_; }

 private:
  [[noreturn]] void fail(const char* what) const;

  std::filesystem::path target_;
  std::filesystem::path temporary_;
  int fd_ = -1;
};

// Flushes the entries of a directory to the disk. Some file systems cannot, which is no error; a directory
// may be writable but not readable: then it is not opened, and what to make of that is the caller's business.
struct DirectoryFlush {
  bool opened = false;
  int error = 0;  // errno of what failed, or 0
};
DirectoryFlush flush_directory(const std::filesystem::path& directory) noexcept;

// Replaces `target` by a file with these bytes.
void write_file(const std::filesystem::path& target, std::span<const std::byte> bytes);
void write_file(const std::filesystem::path& target, std::string_view text);

}  // namespace tetrad::io

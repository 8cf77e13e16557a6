// A whole regular file mapped read-only. Contract: the size is that at opening; a file that another process
// truncates while it is mapped raises SIGBUS on access, so weights are replaced by renaming, never by writing
// into them. Pages read through the mapping are file-backed and clean: the kernel may take them back at any
// time, and release() gives them back at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

namespace tetrad::io {

// What release() does with the kernel's cached copy of the pages, apart from unmapping them from this
// process: keep it (the next start reads from memory) or drop it (a machine whose GPU shares this memory gets
// it back).
enum class PageCache { keep, drop };

class MappedFile {
 public:
  // Throws Error when the path is missing, unreadable or no regular file. An empty file gives an empty span.
  explicit MappedFile(const std::filesystem::path& file);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const noexcept { return {data_, size_}; }
  const std::filesystem::path& path() const noexcept { return path_; }
  // Change counter of the file at opening, in nanoseconds since the epoch.
  std::int64_t mtime_ns() const noexcept { return mtime_ns_; }

  // Asks the kernel to read `range` (a part of bytes()) ahead. Advice only.
  void prefetch(std::span<const std::byte> range) const noexcept;

  // Takes the whole pages inside `range` out of this process's memory; later reads fetch them from the file
  // again.
  void release(std::span<const std::byte> range, PageCache cache) const noexcept;

 private:
  void close() noexcept;

  std::filesystem::path path_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  std::int64_t mtime_ns_ = 0;
  int fd_ = -1;
};

}  // namespace tetrad::io

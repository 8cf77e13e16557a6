#include "io/atomic_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <tetrad/base/error.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <random>

namespace tetrad::io {
namespace fs = std::filesystem;

namespace {

// Where the bytes will lie in the end: links resolved, anything but a regular file refused.
fs::path final_target(const fs::path& target) {
  std::error_code failed;
  const auto link = fs::symlink_status(target, failed);
  if (!fs::exists(link)) return target;
  const auto status = fs::status(target, failed);
  if (fs::exists(status) && !fs::is_regular_file(status)) {
    throw Error(
        fmt::format("[file] {}: exists and is not a regular file; give another name", target.string()));
  }
  if (!fs::is_symlink(link)) return target;
  fs::path resolved = fs::canonical(target, failed);
  if (failed) throw Error(fmt::format("[file] {}: a link that leads nowhere", target.string()));
  return resolved;
}

}  // namespace

AtomicFile::AtomicFile(const fs::path& target) : target_(final_target(target)) {
  std::random_device random;
  for (int attempt = 0; attempt < 16 && fd_ < 0; ++attempt) {
    // Hidden, so that a leftover of a killed run is never taken for a shard or a checkpoint.
    temporary_ = target_.parent_path() / fmt::format(".{}.{:08x}.tmp", target_.filename().string(), random());
    fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd_ < 0 && errno != EEXIST) break;
  }
  if (fd_ < 0) {
    throw Error(fmt::format("[file] {}: cannot be written: {}", target_.string(), std::strerror(errno)));
  }
}

AtomicFile::~AtomicFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(temporary_.c_str());
}

void AtomicFile::fail(const char* what) const {
  throw Error(fmt::format("[file] {}: {} failed: {}; nothing was replaced", target_.string(), what,
                          std::strerror(errno)));
}

void AtomicFile::resize(std::uint64_t bytes) {
  if (bytes == 0) return;
  if (::fallocate(fd_, 0, 0, static_cast<off_t>(bytes)) == 0) return;
  if (errno != EOPNOTSUPP && errno != ENOSYS) fail("reserving space");
  if (::ftruncate(fd_, static_cast<off_t>(bytes)) != 0) fail("setting the length");
}

void AtomicFile::write_at(std::uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const std::size_t part =
        std::min(bytes.size(), std::size_t{1} << 30);  // Linux writes at most 2 GiB a call
    const ssize_t written = ::pwrite(fd_, bytes.data(), part, static_cast<off_t>(offset));
    if (written < 0) {
      if (errno == EINTR) continue;
      fail("writing");
    }
    offset += static_cast<std::uint64_t>(written);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

void AtomicFile::commit() {
  if (::fsync(fd_) != 0) fail("flushing to the disk");
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) fail("renaming");
  ::close(fd_);
  fd_ = -1;
  const fs::path parent = target_.parent_path().empty() ? fs::path(".") : target_.parent_path();
  // Not opened: the rename itself is done.
  if (const DirectoryFlush flush = flush_directory(parent); flush.opened && flush.error != 0) {
    throw Error(fmt::format("[file] {}: replaced, but its directory could not be flushed to the disk: {}",
                            target_.string(), std::strerror(flush.error)));
  }
}

DirectoryFlush flush_directory(const fs::path& directory) noexcept {
  const int fd = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return {false, errno};
  const bool flushed = ::fsync(fd) == 0 || errno == EINVAL || errno == ENOTSUP;
  const int error = flushed ? 0 : errno;
  ::close(fd);
  return {true, error};
}

void write_file(const fs::path& target, std::span<const std::byte> bytes) {
  AtomicFile file(target);
  file.write_at(0, bytes);
  file.commit();
}

void write_file(const fs::path& target, std::string_view text) {
  write_file(target, std::as_bytes(std::span(text.data(), text.size())));
}

}  // namespace tetrad::io

#include "checkpoint/new_directory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <tetrad/base/error.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>

#include "io/memory.h"

namespace tetrad::checkpoint {
namespace fs = std::filesystem;

namespace {

void flush_directory(const fs::path& directory) {
  const int fd = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;  // it may be writable but not readable
  const bool flushed = ::fsync(fd) == 0 || errno == EINVAL || errno == ENOTSUP;  // some file systems cannot
  const int error = errno;
  ::close(fd);
  if (!flushed)
    throw Error(fmt::format("[convert] {}: cannot be flushed to the disk: {}", directory.string(),
                            std::strerror(error)));
}

fs::path without_trailing_slash(const fs::path& path) {
  const fs::path absolute = fs::absolute(path).lexically_normal();
  return absolute.has_filename() ? absolute : absolute.parent_path();
}

}  // namespace

NewDirectory::NewDirectory(const fs::path& target) : target_(without_trailing_slash(target)) {
  std::error_code failed;
  const auto status = fs::symlink_status(target_, failed);
  if (fs::exists(status) && !(fs::is_directory(status) && fs::is_empty(target_, failed) && !failed)) {
    throw Error(
        ExitCode::usage,
        fmt::format("[convert] {}: exists already; give a new name, or remove it first", target_.string()));
  }
  std::random_device random;
  for (int attempt = 0; attempt < 16; ++attempt) {
    fs::path candidate =
        target_.parent_path() / fmt::format(".{}.{:08x}.tmp", target_.filename().string(), random());
    if (fs::create_directory(candidate, failed)) {
      temporary_ = std::move(candidate);
      return;
    }
    if (failed) break;
  }
  const bool full = failed == std::errc::no_space_on_device || failed == std::errc::io_error;
  throw Error(full ? ExitCode::runtime : ExitCode::usage,
              fmt::format("[convert] {}: cannot be made: {}", target_.string(),
                          failed ? failed.message() : "no free temporary name"));
}

NewDirectory::~NewDirectory() {
  if (temporary_.empty()) return;
  std::error_code ignored;
  fs::remove_all(temporary_, ignored);
}

void NewDirectory::require_space(std::uint64_t bytes) const {
  std::error_code failed;
  const auto space = fs::space(temporary_, failed);
  if (failed || space.available >= bytes) return;
  throw Error(fmt::format("[convert] {}: needs {}, and the disk has {} left", target_.string(),
                          io::format_gib(bytes), io::format_gib(space.available)));
}

void NewDirectory::commit() {
  flush_directory(temporary_);
  // rename() replaces an empty directory, and nothing else.
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) {
    throw Error(
        fmt::format("[convert] {}: cannot be moved into place: {}", target_.string(), std::strerror(errno)));
  }
  temporary_.clear();
  flush_directory(target_.parent_path());
}

}  // namespace tetrad::checkpoint

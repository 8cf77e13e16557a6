#include "checkpoint/new_directory.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>

#include "io/atomic_file.h"
#include "io/memory.h"

namespace tetrad::checkpoint {
namespace fs = std::filesystem;

namespace {

void flush(std::string_view who, const fs::path& directory) {
  if (const io::DirectoryFlush flush = io::flush_directory(directory); flush.opened && flush.error != 0)
    throw Error(fmt::format("[{}] {}: cannot be flushed to the disk: {}", who, directory.string(),
                            std::strerror(flush.error)));
}

fs::path without_trailing_slash(const fs::path& path) {
  const fs::path absolute = fs::absolute(path).lexically_normal();
  return absolute.has_filename() ? absolute : absolute.parent_path();
}

}  // namespace

NewDirectory::NewDirectory(const fs::path& target, std::string_view who)
    : who_(who), target_(without_trailing_slash(target)) {
  std::error_code failed;
  const auto status = fs::symlink_status(target_, failed);
  if (fs::exists(status) && !(fs::is_directory(status) && fs::is_empty(target_, failed) && !failed)) {
    throw Error(ExitCode::usage, fmt::format("[{}] {}: exists already; give a new name, or remove it first",
                                             who_, target_.string()));
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
              fmt::format("[{}] {}: cannot be made: {}", who_, target_.string(),
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
  throw Error(fmt::format("[{}] {}: needs {}, and the disk has {} left", who_, target_.string(),
                          io::format_gib(bytes), io::format_gib(space.available)));
}

void NewDirectory::commit() {
  flush(who_, temporary_);
  // rename() replaces an empty directory, and nothing else.
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) {
    throw Error(
        fmt::format("[{}] {}: cannot be moved into place: {}", who_, target_.string(), std::strerror(errno)));
  }
  temporary_.clear();
  flush(who_, target_.parent_path());
}

}  // namespace tetrad::checkpoint

#include "train/metrics/line_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <tetrad/base/error.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "sdk/base/printable.h"

namespace tetrad::train {
namespace {

[[noreturn]] void fail(const std::filesystem::path& file, const char* what) {
  throw Error(fmt::format("[metrics] {}: {}: {}", printable(file.string()), what, std::strerror(errno)));
}

}  // namespace

AppendFile::AppendFile(std::filesystem::path file, Existing existing) : path_(std::move(file)) {
  fd_ = ::open(path_.c_str(),
               O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | (existing == Existing::refuse ? O_EXCL : 0), 0666);
  if (fd_ < 0) fail(path_, "cannot be written");
}

AppendFile::AppendFile(AppendFile&& other) noexcept
    : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)) {}

AppendFile::~AppendFile() {
  if (fd_ >= 0) ::close(fd_);
}

void AppendFile::write(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd_, bytes.data(), bytes.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      fail(path_, "writing failed");
    }
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
}

void AppendFile::flush() {
  if (::fsync(fd_) != 0 && errno != EINVAL && errno != ENOTSUP) fail(path_, "flushing to the disk failed");
}

}  // namespace tetrad::train

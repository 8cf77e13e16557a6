#include "guard/sample_log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <tetrad/base/error.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace tetrad::guard {

namespace {

constexpr int pipe_bytes = 1 << 20;
constexpr int source_fd = 3;
constexpr int target_fd = 4;

int open_anew(const char* file) {
  return ::open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
}

bool write_whole(int fd, const char* bytes, std::size_t count) {
  while (count > 0) {
    const ssize_t written = ::write(fd, bytes, count);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes += written;
    count -= static_cast<std::size_t>(written);
  }
  return true;
}

// Descriptors of the guard (control channel, pages) must not stay open in here.
void only_these(int source, int target) {
  const int high_source = ::fcntl(source, F_DUPFD, 16);
  const int high_target = ::fcntl(target, F_DUPFD, 16);
  const int nothing = ::open("/dev/null", O_RDWR);
  for (int fd = 0; fd < 3; ++fd) ::dup2(nothing, fd);
  ::dup2(high_source, source_fd);
  ::dup2(high_target, target_fd);
  if (::syscall(SYS_close_range, target_fd + 1, ~0U, 0) != 0) {
    for (int fd = target_fd + 1; fd < 1024; ++fd) ::close(fd);
  }
}

// Takes the pipe to the file until its other end is closed. A file that cannot be written any more does not
// stop the reading: the exit code tells of it.
[[noreturn]] void write_out(int source, int target, const std::string& file, std::uint64_t most_bytes) {
  ::setsid();
  for (const int signal : {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE, SIGTSTP}) ::signal(signal, SIG_IGN);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::prctl(PR_SET_NAME, "tetrad-log");
  const std::string older = file + ".1";
  only_these(source, target);
  std::array<char, 16 * SampleLog::longest_line> block;
  std::uint64_t written = 0;
  int out = target_fd;
  bool whole = true;
  for (;;) {
    const ssize_t got = ::read(source_fd, block.data(), block.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) ::_exit(whole ? 0 : 1);
    std::size_t from = 0;
    const auto count = static_cast<std::size_t>(got);
    if (written + count > most_bytes / 2 && written > 0) {
      // The line that is under way is ended in the old file.
      const auto* const end = static_cast<const char*>(std::memchr(block.data(), '\n', count));
      from = end == nullptr ? count : static_cast<std::size_t>(end - block.data()) + 1;
      whole = (out >= 0 && write_whole(out, block.data(), from)) && whole;
      if (end != nullptr) {
        if (out >= 0) ::close(out);
        ::rename(file.c_str(), older.c_str());
        out = open_anew(file.c_str());
        written = 0;
      }
    }
    whole = (out >= 0 && write_whole(out, block.data() + from, count - from)) && whole;
    written += count - from;
  }
}

}  // namespace

SampleLog::SampleLog(const std::string& file, std::uint64_t most_bytes) {
  const int target = open_anew(file.c_str());
  int ends[2] = {-1, -1};
  if (target < 0 || ::pipe2(ends, O_CLOEXEC) != 0 || (pid_ = ::fork()) < 0) {
    const int reason = errno;
    for (const int fd : {target, ends[0], ends[1]}) {
      if (fd >= 0) ::close(fd);
    }
    throw Error(
        fmt::format("[guard] the log {} cannot be written: {}; name a file in a folder that exists and "
                    "is writable, or leave guard.log out",
                    file, std::strerror(reason)));
  }
  if (pid_ == 0) {
    ::close(ends[1]);
    write_out(ends[0], target, file, most_bytes);
  }
  ::close(target);
  ::close(ends[0]);
  pipe_ = ends[1];
  ::fcntl(pipe_, F_SETFL, O_NONBLOCK);
  ::fcntl(pipe_, F_SETPIPE_SZ, pipe_bytes);  // refused: it has 64 KiB
}

SampleLog::~SampleLog() {
  ::close(pipe_);
  for (int i = 0; pid_ > 0 && i < 500 && ::waitpid(pid_, nullptr, WNOHANG) == 0; ++i) ::poll(nullptr, 0, 1);
}

bool SampleLog::ended(int status) noexcept {
  pid_ = -1;
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

void SampleLog::add(std::string_view line) noexcept {
  char newline = '\n';
  const std::array<iovec, 2> parts = {{{const_cast<char*>(line.data()), line.size()}, {&newline, 1}}};
  const bool fits = line.size() < longest_line;
  if (!fits || ::writev(pipe_, parts.data(), static_cast<int>(parts.size())) < 0) ++dropped_;
}

}  // namespace tetrad::guard

#include "cli/supervise/terminal.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <string>

namespace tetrad::cli {

namespace {

bool writable_now(int fd) noexcept {
  pollfd entry{fd, POLLOUT, 0};
  return ::poll(&entry, 1, 0) == 1 && (entry.revents & POLLOUT) != 0;
}

void write_now(int fd, std::string_view text) noexcept {
  if (!writable_now(fd)) return;
  // One call: what does not fit is lost rather than waited for.
  const ssize_t written = ::write(fd, text.data(), text.size());
  static_cast<void>(written);
}

}  // namespace

TerminalState::TerminalState() {
  for (int fd = 0; fd < 3; ++fd) {
    flags_[static_cast<std::size_t>(fd)] = ::fcntl(fd, F_GETFL);
    if (fd_ < 0 && ::isatty(fd) == 1 && ::tcgetattr(fd, &settings_) == 0) fd_ = fd;
  }
}

void TerminalState::restore(After after) const noexcept {
  for (int fd = 0; fd < 3; ++fd) {
    const int before = flags_[static_cast<std::size_t>(fd)];
    const int now = ::fcntl(fd, F_GETFL);
    if (before >= 0 && now >= 0 && ((before ^ now) & O_NONBLOCK) != 0) {
      ::fcntl(fd, F_SETFL, (now & ~O_NONBLOCK) | (before & O_NONBLOCK));
    }
  }
  if (fd_ < 0 || ::tcgetpgrp(fd_) != ::getpgrp()) return;
  // TCSANOW, not TCSADRAIN: output that is held back (Ctrl-S) would never drain.
  ::tcsetattr(fd_, TCSANOW, &settings_);
  const char* term = std::getenv("TERM");
  const bool plain = term == nullptr || std::strcmp(term, "dumb") == 0;
  if (plain || ::isatty(STDERR_FILENO) != 1) return;
  if (after == After::violent) write_now(STDERR_FILENO, "\x1b[0m\x1b[?25h\x1b[?2004l\r\n");
  if (after == After::stopped) write_now(STDERR_FILENO, "\x1b[?2004l");
}

void note(std::string_view line) noexcept {
  try {
    write_now(STDERR_FILENO, std::string(line) + "\n");
  } catch (...) {  // out of memory: the line is lost, the watching goes on
  }
}

}  // namespace tetrad::cli

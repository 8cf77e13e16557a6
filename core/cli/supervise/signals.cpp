#include "cli/supervise/signals.h"

#include <fmt/format.h>
#include <signal.h>
#include <tetrad/base/error.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace tetrad::cli {

namespace {

bool ignored(int signal) noexcept {
  struct sigaction action {};
  return ::sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

}  // namespace

SignalFeed::SignalFeed() {
  ::sigemptyset(&taken_);
  ::sigaddset(&taken_, SIGCHLD);
  ::sigaddset(&taken_, SIGTERM);
  for (const int signal : {SIGINT, SIGHUP, SIGQUIT, SIGTSTP}) {
    if (!ignored(signal)) ::sigaddset(&taken_, signal);
  }
  // A closed stderr must not end us, and writing to the terminal from the background must not stop us.
  for (const int signal : {SIGPIPE, SIGTTOU}) {
    if (ignored(signal)) continue;
    ::signal(signal, SIG_IGN);
    for_child_.back_to_default.push_back(signal);
  }
  if (ignored(SIGCHLD)) {  // inherited; children would vanish before they could be waited for
    ::signal(SIGCHLD, SIG_DFL);
  }
  ::sigprocmask(SIG_BLOCK, &taken_, &for_child_.mask);
  fd_ = ::signalfd(-1, &taken_, SFD_CLOEXEC | SFD_NONBLOCK);
  if (fd_ < 0) {
    const int reason = errno;
    ::sigprocmask(SIG_SETMASK, &for_child_.mask, nullptr);
    throw Error(fmt::format("[host] signalfd failed: {}", std::strerror(reason)));
  }
}

SignalFeed::~SignalFeed() {
  while (next()) {  // what still waits concerned the child
  }
  ::close(fd_);
  for (const int signal : for_child_.back_to_default) ::signal(signal, SIG_DFL);
  ::sigprocmask(SIG_SETMASK, &for_child_.mask, nullptr);
}

std::optional<signalfd_siginfo> SignalFeed::next() noexcept {
  signalfd_siginfo info{};
  for (;;) {
    const ssize_t got = ::read(fd_, &info, sizeof info);
    if (got == static_cast<ssize_t>(sizeof info)) return info;
    if (got >= 0 || errno != EINTR) return std::nullopt;
  }
}

void SignalFeed::stop_ourselves() noexcept {
  sigset_t one;
  ::sigemptyset(&one);
  ::sigaddset(&one, SIGTSTP);
  ::raise(SIGTSTP);
  ::sigprocmask(SIG_UNBLOCK, &one, nullptr);  // stops here, unless nobody could ever continue us
  ::sigprocmask(SIG_BLOCK, &one, nullptr);
}

}  // namespace tetrad::cli

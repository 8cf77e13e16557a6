// The signals that a supervisor takes as messages from a descriptor for as long as the object lives. A signal
// that was ignored when we were started (nohup, a background job of a script) stays ignored, for us and for
// the child.
#pragma once

#include "cli/supervise/spawn.h"

#include <sys/signalfd.h>

#include <optional>

namespace tetrad::cli {

class SignalFeed {
 public:
  SignalFeed();
  ~SignalFeed();
  SignalFeed(const SignalFeed&) = delete;
  SignalFeed& operator=(const SignalFeed&) = delete;

  int fd() const noexcept { return fd_; }
  std::optional<signalfd_siginfo> next() noexcept;  // nothing when none is waiting

  // What a child has to be started with.
  const SignalSettings& for_child() const noexcept { return for_child_; }

  // Does what SIGTSTP does by default and returns once we run again.
  void stop_ourselves() noexcept;

 private:
  int fd_ = -1;
  sigset_t taken_{};
  SignalSettings for_child_;
};

}  // namespace tetrad::cli

// Starts a program as our child: dies with us (PR_SET_PDEATHSIG, with the check that we did not die in
// between), in our process group, with the signal mask and dispositions that we were started with. Must be
// called from the main thread, because the death signal follows the thread that forked.
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <array>
#include <string>
#include <vector>

namespace tetrad::cli {

struct Program {
  std::string file;                      // a path; a bare name is looked up in PATH
  std::vector<std::string> arguments;    // without argv[0], which is `file`
  int control_fd = -1;                   // handed over in TETRAD_CONTROL_FD; -1: none
  bool ignore_interrupt = false;         // SIGINT is ignored: we turn it into a message
  std::array<int, 3> stdio{-1, -1, -1};  // -1: inherited
  std::vector<std::string> environment;  // NAME=VALUE, added to ours
  int join_fd = -1;                      // cgroup.procs of a group to start in; -1: ours
};

// Signals that the caller blocked or ignored for itself, and what they were before.
struct SignalSettings {
  sigset_t mask;                     // the child's
  std::vector<int> back_to_default;  // ignored by us alone
};

// Returns the child's pid once it runs the program. Throws Error(runtime) with the system's reason when it
// cannot.
pid_t spawn(const Program& program, const SignalSettings& signals);

}  // namespace tetrad::cli

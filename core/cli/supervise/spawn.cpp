#include "cli/supervise/spawn.h"

#include "cli/protocol/channel.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <tetrad/base/error.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace tetrad::cli {

namespace {

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> list;
  for (std::string& text : texts) list.push_back(text.data());
  list.push_back(nullptr);
  return list;
}

std::vector<std::string> environment_of(const Program& program) {
  const std::string control = std::string(control_fd_variable) + "=";
  std::vector<std::string> list = program.environment;
  if (program.control_fd >= 0) list.push_back(control + std::to_string(program.control_fd));
  const auto set_by_us = [&](const std::string& entry) {
    const std::string name = entry.substr(0, entry.find('=') + 1);
    return name == control || std::any_of(program.environment.begin(), program.environment.end(),
                                          [&](const std::string& ours) { return ours.starts_with(name); });
  };
  for (char** entry = environ; *entry != nullptr; ++entry) {
    if (!set_by_us(*entry)) list.emplace_back(*entry);
  }
  return list;
}

// In the child, between fork and exec: async-signal-safe calls only.
[[noreturn]] void become(const Program& program, const SignalSettings& signals, pid_t parent, int report,
                         char** argv, char** envp) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(128 + SIGKILL);
  if (program.join_fd >= 0) {  // before it can fork; refused: the tree is followed through /proc alone
    const ssize_t joined = ::write(program.join_fd, "0", 1);
    static_cast<void>(joined);
  }
  for (const int signal : signals.back_to_default) ::signal(signal, SIG_DFL);
  if (program.ignore_interrupt) ::signal(SIGINT, SIG_IGN);
  for (int fd = 0; fd < 3; ++fd) {
    const int source = program.stdio[static_cast<std::size_t>(fd)];
    if (source >= 0) ::dup2(source, fd);
  }
  if (program.control_fd >= 0) ::fcntl(program.control_fd, F_SETFD, 0);
  ::sigprocmask(SIG_SETMASK, &signals.mask, nullptr);
  ::execvpe(program.file.c_str(), argv, envp);
  const int reason = errno;
  const ssize_t written = ::write(report, &reason, sizeof reason);
  ::_exit(written == sizeof reason ? 127 : 126);
}

}  // namespace

pid_t spawn(const Program& program, const SignalSettings& signals) {
  std::vector<std::string> arguments = program.arguments;
  arguments.insert(arguments.begin(), program.file);
  std::vector<std::string> environment = environment_of(program);
  const std::vector<char*> argv = pointers(arguments);
  const std::vector<char*> envp = pointers(environment);
  int report[2];
  if (::pipe2(report, O_CLOEXEC) != 0) {
    throw Error(fmt::format("[host] cannot start '{}': {}", program.file, std::strerror(errno)));
  }
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child == 0) {
    become(program, signals, parent, report[1], const_cast<char**>(argv.data()),
           const_cast<char**>(envp.data()));
  }
  const int fork_error = errno;
  ::close(report[1]);
  int reason = child < 0 ? fork_error : 0;
  if (child > 0) {
    ssize_t got = 0;
    do {
      got = ::read(report[0], &reason, sizeof reason);
    } while (got < 0 && errno == EINTR);
    if (got != sizeof reason) reason = 0;
  }
  ::close(report[0]);
  if (reason != 0) {
    if (child > 0) ::waitpid(child, nullptr, 0);
    throw Error(fmt::format("[host] cannot start '{}': {}", program.file, std::strerror(reason)));
  }
  return child;
}

}  // namespace tetrad::cli

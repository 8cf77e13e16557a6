#include "cli/doctor/probe.h"

#include "cli/supervise/spawn.h"
#include "guard/tree.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <tetrad/base/error.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace tetrad::cli {

namespace {

constexpr std::size_t most_output = std::size_t{1} << 20;

int left_ms(std::int64_t deadline_ns) {
  const std::int64_t left = (deadline_ns - guard::monotonic_ns() + 999'999) / 1'000'000;
  return static_cast<int>(std::clamp<std::int64_t>(left, 0, 60'000));
}

}  // namespace

Probe::Probe(const std::string& program, const std::vector<std::string>& arguments) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    problem_ = "no pipe";
    return;
  }
  output_ = ends[0];
  const int nothing = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  SignalSettings signals{};
  ::sigprocmask(SIG_SETMASK, nullptr, &signals.mask);
  try {
    Program child;
    child.file = program;
    child.arguments = arguments;
    child.stdio = {nothing, ends[1], nothing};
    pid_ = spawn(child, signals);
  } catch (const Error& e) {
    problem_ = e.what();
  }
  if (nothing >= 0) ::close(nothing);
  ::close(ends[1]);
}

Probe::~Probe() {
  if (pid_ > 0) abandon(pid_);
  if (output_ >= 0) ::close(output_);
}

ProbeResult Probe::collect(std::int64_t deadline_ns) {
  ProbeResult result;
  if (pid_ <= 0) {
    result.problem = problem_;
    return result;
  }
  ::fcntl(output_, F_SETFL, O_NONBLOCK);
  bool open = true;
  for (;;) {
    const int wait_ms = left_ms(deadline_ns);
    if (open) {
      pollfd entry{output_, POLLIN, 0};
      ::poll(&entry, 1, wait_ms);
      std::array<char, 4096> chunk;
      const ssize_t got = ::read(output_, chunk.data(), chunk.size());
      if (got > 0 && result.output.size() < most_output)
        result.output.append(chunk.data(), static_cast<std::size_t>(got));
      if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) open = false;
    } else {
      ::poll(nullptr, 0, std::min(wait_ms, 2));
    }
    int status = 0;
    if (!open && ::waitpid(pid_, &status, WNOHANG) == pid_) {
      pid_ = -1;
      result.end = ProbeResult::End::ended;
      result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      return result;
    }
    if (wait_ms == 0) {
      result.end = ProbeResult::End::late;
      result.problem = "no answer in time";
      return result;
    }
  }
}

void abandon(pid_t pid) noexcept {
  ::kill(pid, SIGKILL);
  for (int i = 0; i < 20; ++i) {
    if (::waitpid(pid, nullptr, WNOHANG) != 0) return;
    ::poll(nullptr, 0, 1);
  }
}

}  // namespace tetrad::cli

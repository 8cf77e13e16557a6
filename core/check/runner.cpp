#include "check/runner.h"

#include "plugin/breadcrumb.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <tetrad/base/error.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <exception>

namespace tetrad::check {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

constexpr std::size_t max_text = 1U << 20;  // of each stream that is kept
constexpr int result_fd = 3;                // in the child
constexpr int log_lines = 6;
constexpr double abort_grace_secs = 0.3;

void write_all(int fd, const std::string& text) noexcept {
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t n = ::write(fd, text.data() + done, text.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;
    done += static_cast<std::size_t>(n);
  }
}

json answer_of(const Case& each) {
  try {
    const Result result = each.run();
    return {{"verdict", "pass"},
            {"detail", result.detail},
            {"figures", result.figures},
            {"digest", result.digest}};
  } catch (const Skip& e) {
    return {{"verdict", "skip"}, {"detail", e.what()}};
  } catch (const std::exception& e) {
    return {{"verdict", "fail"}, {"detail", e.what()}};
  }
}

[[noreturn]] void be_the_child(const Case& each, int result, int out, int err, pid_t parent) {
  ::setpgid(0, 0);  // what the plugin starts ends with it
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(1);
  const int nothing = ::open("/dev/null", O_RDONLY);
  ::dup2(nothing, STDIN_FILENO);
  ::dup2(out, STDOUT_FILENO);
  ::dup2(err, STDERR_FILENO);
  // Nothing of the engine's own stays open: no plugin can disturb it.
  const int kept = ::fcntl(result, F_DUPFD, 100);
  ::dup2(kept, result_fd);
  ::close_range(result_fd + 1, ~0U, 0);
  plugin::install_crash_handler();
  const json answer = answer_of(each);
  write_all(result_fd, answer.dump(-1, ' ', false, json::error_handler_t::replace));
  std::fflush(stdout);
  ::_exit(0);
}

struct Stream {
  int fd = -1;
  std::string text;

  void take() {
    std::array<char, 65536> chunk;
    for (;;) {
      const ssize_t n = ::read(fd, chunk.data(), chunk.size());
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return;
      if (text.size() < max_text) text.append(chunk.data(), static_cast<std::size_t>(n));
    }
  }
};

// One process of a case: its end and what it said.
struct Ended {
  int status = 0;
  bool late = false;
  std::string result, out, err;
};

Ended run_child(const Case& each, double deadline_secs) {
  std::array<Stream, 3> streams;
  std::array<int, 3> theirs{-1, -1, -1};
  for (std::size_t i = 0; i < streams.size(); ++i) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0)
      throw Error(fmt::format("[check] no pipe for a case: {}", std::strerror(errno)));
    streams[i].fd = ends[0];
    theirs[i] = ends[1];
    ::fcntl(ends[0], F_SETFL, O_NONBLOCK);
  }
  std::fflush(nullptr);  // what waits in a buffer of ours is not the child's to write
  const pid_t self = ::getpid();
  const pid_t pid = ::fork();
  if (pid == 0) be_the_child(each, theirs[0], theirs[1], theirs[2], self);
  for (const int fd : theirs) ::close(fd);
  if (pid < 0) throw Error(fmt::format("[check] no process for a case: {}", std::strerror(errno)));
  ::setpgid(pid, pid);

  Ended ended;
  const auto start = Clock::now();
  const auto passed = [&] { return std::chrono::duration<double>(Clock::now() - start).count(); };
  for (;;) {
    pollfd fds[3];
    for (std::size_t i = 0; i < 3; ++i) fds[i] = {streams[i].fd, POLLIN, 0};
    ::poll(fds, 3, 5);
    for (Stream& stream : streams) stream.take();
    const pid_t got = ::waitpid(pid, &ended.status, WNOHANG);
    if (got == pid) break;
    if (!ended.late && passed() > deadline_secs) {
      ended.late = true;
      ::kill(pid, SIGABRT);  // the crash handler says where it was
    } else if (ended.late && passed() > deadline_secs + abort_grace_secs) {
      ::kill(-pid, SIGKILL);
      ::kill(pid, SIGKILL);
    }
  }
  ::kill(-pid, SIGKILL);  // what it left behind
  for (Stream& stream : streams) {
    stream.take();
    ::close(stream.fd);
  }
  ended.result = std::move(streams[0].text);
  ended.out = std::move(streams[1].text);
  ended.err = std::move(streams[2].text);
  return ended;
}

// "while in plugin 'x', function 'forward'" out of what the crash handler wrote; "" where it could not.
std::string crash_place(const std::string& err) {
  const std::size_t line = err.rfind("error: [crash] ");
  if (line == std::string::npos) return {};
  std::string text = err.substr(line + std::strlen("error: [crash] "));
  std::replace(text.begin(), text.end(), '\n', ' ');
  while (!text.empty() && text.back() == ' ') text.pop_back();
  return text;
}

std::string last_lines(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  std::size_t from = text.size();
  for (int i = 0; i < log_lines && from != std::string::npos && from > 0; ++i)
    from = text.rfind('\n', from - 1);
  return from == std::string::npos || from == 0 ? text : text.substr(from + 1);
}

std::string place_in(const std::string& place) {
  const std::size_t at = place.find("while in ");
  return at == std::string::npos ? std::string()
                                 : "; it was in " + place.substr(at + std::strlen("while in "));
}

Outcome judge(const Ended& ended, double deadline_secs, std::string& digest) {
  Outcome outcome;
  const std::string place = crash_place(ended.err);
  outcome.log = last_lines(ended.err);
  if (ended.late) {
    outcome.verdict = Verdict::hang;
    outcome.detail = fmt::format("no end after {} s{}", deadline_secs, place_in(place));
    return outcome;
  }
  if (WIFSIGNALED(ended.status)) {
    outcome.verdict = Verdict::crash;
    outcome.detail = place.empty() ? fmt::format("ended by signal {}", WTERMSIG(ended.status)) : place;
    return outcome;
  }
  const json answer = json::parse(ended.result, nullptr, false);
  if (!answer.is_object()) {
    outcome.verdict = Verdict::crash;
    outcome.detail = fmt::format("the process ended itself with exit code {} in the middle of the case",
                                 WEXITSTATUS(ended.status));
    return outcome;
  }
  const auto verdict = answer.value("verdict", "fail");
  outcome.verdict = verdict == "pass" ? Verdict::pass : verdict == "skip" ? Verdict::skip : Verdict::fail;
  outcome.detail = answer.value("detail", "");
  outcome.figures = answer.value("figures", json::object());
  digest = answer.value("digest", "");
  if (outcome.verdict == Verdict::pass && !ended.out.empty()) {
    outcome.verdict = Verdict::fail;
    outcome.detail =
        fmt::format("it wrote to standard output, which belongs to the host: '{}'; use plugin_log",
                    last_lines(ended.out).substr(0, 120));
  }
  return outcome;
}

}  // namespace

const char* verdict_name(Verdict verdict) noexcept {
  switch (verdict) {
    case Verdict::pass:
      return "pass";
    case Verdict::fail:
      return "fail";
    case Verdict::crash:
      return "crash";
    case Verdict::hang:
      return "hang";
    case Verdict::skip:
      return "skip";
  }
  return "unknown";
}

Outcome run_isolated(const Case& each, double deadline_secs) {
  const auto start = Clock::now();
  std::string digest;
  Outcome outcome = judge(run_child(each, deadline_secs), deadline_secs, digest);
  if (each.twice && outcome.verdict == Verdict::pass) {
    std::string again;
    const Outcome second = judge(run_child(each, deadline_secs), deadline_secs, again);
    if (second.verdict != Verdict::pass) {
      outcome = second;
    } else if (again != digest) {
      outcome.verdict = Verdict::fail;
      outcome.detail =
          fmt::format("two processes computed different bits from the same input: {} and {}", digest, again);
    }
  }
  outcome.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  return outcome;
}

}  // namespace tetrad::check

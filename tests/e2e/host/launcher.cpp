#include "launcher.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <fstream>

namespace tetrad::e2e {

namespace {

using Clock = std::chrono::steady_clock;

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> list;
  for (std::string& word : words) list.push_back(word.data());
  list.push_back(nullptr);
  return list;
}

[[noreturn]] void exec_host(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), host_file());
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  for (int fd = 3; fd < 1024; ++fd) ::close(fd);  // whatever the tests themselves were started with
  const std::vector<char*> argv = pointers(arguments);
  ::execv(argv[0], argv.data());
  ::_exit(255);
}

int code_of(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// False at the end of the stream.
bool take(int fd, std::string& into) {
  std::array<char, 65536> chunk;
  const ssize_t got = ::read(fd, chunk.data(), chunk.size());
  if (got <= 0) return false;
  into.append(chunk.data(), static_cast<std::size_t>(got));
  return true;
}

int wait_for_end(pid_t pid) {
  const auto end = Clock::now() + std::chrono::seconds(30);
  int status = 0;
  while (::waitpid(pid, &status, WNOHANG) == 0) {
    if (Clock::now() > end) {
      ::kill(pid, SIGKILL);
      ::waitpid(pid, &status, 0);
      ADD_FAILURE() << "host did not end";
      return 255;
    }
    ::poll(nullptr, 0, 5);
  }
  return code_of(status);
}

}  // namespace

std::string host_file() {
  return TETRAD_BINARY_DIR "/bin/host";
}
std::string fake_engine_file() {
  return TETRAD_FAKE_ENGINE;
}

Result run_host(const std::vector<std::string>& arguments, const std::string& input) {
  int in[2];
  int out[2];
  int err[2];
  if (::pipe2(in, O_CLOEXEC) != 0 || ::pipe2(out, O_CLOEXEC) != 0 || ::pipe2(err, O_CLOEXEC) != 0)
    std::abort();
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::dup2(in[0], 0);
    ::dup2(out[1], 1);
    ::dup2(err[1], 2);
    exec_host(arguments);
  }
  for (const int fd : {in[0], out[1], err[1]}) ::close(fd);
  const ssize_t written = ::write(in[1], input.data(), input.size());  // tests send less than a pipe holds
  EXPECT_EQ(written, static_cast<ssize_t>(input.size()));
  ::close(in[1]);
  Result result;
  pollfd fds[2] = {{out[0], POLLIN, 0}, {err[0], POLLIN, 0}};
  const auto end = Clock::now() + std::chrono::seconds(60);
  while (fds[0].fd >= 0 || fds[1].fd >= 0) {
    ::poll(fds, 2, 1000);
    if (fds[0].revents != 0 && !take(out[0], result.out)) fds[0].fd = -1;
    if (fds[1].revents != 0 && !take(err[0], result.err)) fds[1].fd = -1;
    if (Clock::now() > end) break;
  }
  ::close(out[0]);
  ::close(err[0]);
  result.exit_code = wait_for_end(pid);
  return result;
}

Started::Started(const std::vector<std::string>& arguments, bool on_terminal) {
  if (on_terminal) {
    pid_ = ::forkpty(&fd_, nullptr, nullptr, nullptr);
    if (pid_ == 0) exec_host(arguments);
  } else {
    int out[2];
    if (::pipe2(out, O_CLOEXEC) != 0) std::abort();
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(out[1], 1);
      ::dup2(out[1], 2);
      exec_host(arguments);
    }
    ::close(out[1]);
    fd_ = out[0];
  }
  ::fcntl(fd_, F_SETFD, FD_CLOEXEC);
}

Started::Started(const std::function<void()>& child) {
  pid_ = ::forkpty(&fd_, nullptr, nullptr, nullptr);
  if (pid_ == 0) {
    child();
    ::_exit(252);
  }
  ::fcntl(fd_, F_SETFD, FD_CLOEXEC);
}

Started::~Started() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  ::close(fd_);
}

bool Started::read_more() {
  pollfd entry{fd_, POLLIN, 0};
  return ::poll(&entry, 1, 30'000) == 1 && take(fd_, seen_);
}

bool Started::wait_for(const std::string& text) {
  for (;;) {
    const std::size_t at = seen_.find(text, from_);
    if (at != std::string::npos) {
      from_ = at + text.size();
      return true;
    }
    if (!read_more()) return false;
  }
}

void Started::type(const std::string& keys) const {
  EXPECT_EQ(::write(fd_, keys.data(), keys.size()), static_cast<ssize_t>(keys.size()));
}

int Started::finish() {
  const int code = wait_for_end(pid_);
  pid_ = -1;
  pollfd entry{fd_, POLLIN, 0};
  while (::poll(&entry, 1, 0) == 1 && take(fd_, seen_)) {
  }
  return code;
}

Workplace::Workplace() {
  std::string name = testing::TempDir() + "tetrad-host-XXXXXX";
  folder_ = ::mkdtemp(name.data());
  write("c.yaml",
        "linear: {plugin: launcher-fixture}\n"
        "kv_cache: {plugin: launcher-fixture}\n"
        "model: {path: .}\n"
        "run: {dir: null}\n"
        "plugins: {path: [\"" TETRAD_LAUNCHER_PLUGINS "\"]}\n");
}

Workplace::~Workplace() {
  std::filesystem::remove_all(folder_);
}

void Workplace::write(const std::string& name, const std::string& text) const {
  std::ofstream(folder_ / name) << text;
}

std::vector<std::string> Workplace::generate(const std::string& order,
                                             const std::vector<std::string>& more) const {
  std::vector<std::string> arguments = {"generate",         "--config", path("c.yaml"), "--engine",
                                        fake_engine_file(), "--prompt", order};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

}  // namespace tetrad::e2e

// How a running guard is asked: a socket in the abstract namespace, "tetrad-guard-<pid>", so that no file is
// left behind and no disk is waited for. Two requests, one line each:
//   status                          answered by one line of JSON
//   limits <limit> <floor>          from a `host` that runs under this guard: bytes, 0 = none. The stricter
//                                   value wins for as long as the connection stays open; the answer is one
//                                   line "ok <limit in force>", and "soft" lines may follow
// Only the same user and root are answered, and only a process of the guarded tree may set limits. Nothing
// here waits: a client that does not read is dropped.
#pragma once

#include "guard/policy.h"

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace tetrad::guard {

inline constexpr const char* guard_variable = "TETRAD_GUARD";  // "<pid>:<start ticks>" of the guard above us

class Post {
 public:
  Post();  // without a socket fd() is -1: the run goes on, it just cannot be asked
  ~Post();
  Post(const Post&) = delete;
  Post& operator=(const Post&) = delete;

  int fd() const noexcept { return epoll_; }  // readable: serve() has something to do

  struct Answers {
    std::function<std::string()> status;  // JSON, one line
    std::function<bool(pid_t pid)> in_tree;
    std::function<std::uint64_t()> limit;  // in force once strictest() was applied; 0 = none
    std::function<void()> changed;         // strictest() has another value
  };
  void serve(const Answers& answers) noexcept;

  // `own` with the limits of everybody who asked, whichever is stricter.
  Limits strictest(const Limits& own) const noexcept;

  // Passes the soft stage on. True: somebody was there to hear it.
  bool send_soft() noexcept;

 private:
  struct Client {
    int fd = -1;
    pid_t pid = 0;
    std::string text;
    bool holds = false;  // limits
    std::uint64_t limit_bytes = 0, floor_bytes = 0;
  };
  void accept_one();
  bool answer(Client& client, const Answers& answers);

  int socket_ = -1, epoll_ = -1;
  std::vector<Client> clients_;
};

// What a guard with this pid answers to "status"; nothing when there is none or it gives no answer in time.
std::optional<std::string> ask_status(pid_t guard, double timeout_secs = 1);

// Guards of this network namespace, whoever's.
std::vector<pid_t> find_guards();

// The guard above this process: named by the environment and really an ancestor.
class OuterGuard {
 public:
  static std::optional<pid_t> find();

  // Hands our limits over. Throws Error when that guard gives no answer within two seconds.
  OuterGuard(pid_t pid, const Limits& limits);
  ~OuterGuard();
  OuterGuard(const OuterGuard&) = delete;
  OuterGuard& operator=(const OuterGuard&) = delete;

  pid_t pid() const noexcept { return pid_; }
  std::optional<std::uint64_t> limit_bytes() const noexcept { return limit_; }  // in force
  int fd() const noexcept { return fd_; }
  bool soft() noexcept;  // after fd() became readable: the soft stage was asked for

 private:
  pid_t pid_;
  int fd_ = -1;
  std::optional<std::uint64_t> limit_;
};

}  // namespace tetrad::guard

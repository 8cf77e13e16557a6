// A control group (v2) of our own for the guarded program, where we may make one: the kernel then kills
// everything in it at once, whatever it forks meanwhile. No controller is switched on, so nothing else
// changes for the program. Where it is not permitted (most containers, sessions without delegation) there is
// none, and why() says so: the process tree is then followed through /proc alone.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace tetrad::guard {

// Mount point of the cgroup v2 file system out of the text of /proc/self/mountinfo; "" without one.
std::string cgroup2_mount(std::string_view mountinfo);

class Group {
 public:
  // Makes `tetrad-guard-<our pid>` below our own group.
  Group();
  ~Group();  // removes it; the kernel refuses while somebody is in it
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;

  bool exists() const noexcept { return kill_fd_ >= 0; }
  const std::string& why() const noexcept { return why_; }  // it does not exist
  const std::filesystem::path& path() const noexcept { return path_; }

  // Writing "0" to it moves the writer in; -1 without a group.
  int procs_fd() const noexcept { return procs_fd_; }
  int kill_fd() const noexcept { return kill_fd_; }

  // SIGKILL to everybody in it; they get it before this returns. False without a group or a kernel
  // before 5.14.
  bool kill() const noexcept;

 private:
  std::filesystem::path path_;
  std::string why_;
  int procs_fd_ = -1, kill_fd_ = -1;
};

}  // namespace tetrad::guard

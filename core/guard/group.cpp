#include "guard/group.h"

#include "guard/cgroup.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <optional>

namespace tetrad::guard {

namespace {

std::string read_text(const char* path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

// Our group in the v2 hierarchy: the line "0::/path" of /proc/self/cgroup.
std::optional<std::string> own_group(std::string_view text) {
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    if (text.substr(0, end).starts_with("0::/")) return std::string(text.substr(3, end - 3));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return std::nullopt;
}

// Empty groups of guards that were killed together with their keepers. The kernel refuses to remove one in
// use.
void remove_stale(const std::filesystem::path& parent) {
  constexpr std::string_view prefix = "tetrad-guard-";
  std::error_code failed;
  for (const auto& entry : std::filesystem::directory_iterator(parent, failed)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(prefix)) continue;
    if (!std::filesystem::exists("/proc/" + name.substr(prefix.size()), failed))
      ::rmdir(entry.path().c_str());
  }
}

}  // namespace

std::string cgroup2_mount(std::string_view mountinfo) {
  while (!mountinfo.empty()) {
    const std::size_t end = std::min(mountinfo.find('\n'), mountinfo.size());
    const std::string_view line = mountinfo.substr(0, end);
    mountinfo.remove_prefix(std::min(end + 1, mountinfo.size()));
    const std::size_t dash = line.find(" - ");
    if (dash == std::string_view::npos || !line.substr(dash + 3).starts_with("cgroup2 ")) continue;
    std::string_view rest = line;  // id parent major:minor root mount-point ...
    for (int field = 0; field < 4 && !rest.empty(); ++field)
      rest.remove_prefix(std::min(rest.find(' ') + 1, rest.size()));
    return std::string(rest.substr(0, rest.find(' ')));
  }
  return {};
}

Group::Group() {
  const std::string mount = cgroup2_mount(read_text("/proc/self/mountinfo"));
  const auto own = own_group(read_text("/proc/self/cgroup"));
  if (mount.empty() || !own) {
    why_ = "this system has no cgroup v2 file system";
    return;
  }
  path_ = std::filesystem::path(mount) / std::filesystem::path(*own).relative_path() /
          fmt::format("tetrad-guard-{}", ::getpid());
  remove_stale(path_.parent_path());
  if (::mkdir(path_.c_str(), 0755) != 0) {
    why_ =
        fmt::format("no group may be made below {}: {}", path_.parent_path().string(), std::strerror(errno));
    return;
  }
  procs_fd_ = ::open((path_ / "cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC);
  kill_fd_ = ::open((path_ / "cgroup.kill").c_str(), O_WRONLY | O_CLOEXEC);
  if (procs_fd_ < 0 || kill_fd_ < 0) {
    why_ = fmt::format("{} cannot be used: {}", path_.string(),
                       kill_fd_ < 0 ? "this kernel has no cgroup.kill (5.14)" : std::strerror(errno));
    if (procs_fd_ >= 0) ::close(procs_fd_);
    if (kill_fd_ >= 0) ::close(kill_fd_);
    procs_fd_ = kill_fd_ = -1;
    ::rmdir(path_.c_str());
  }
}

Group::~Group() {
  if (!exists()) return;
  ::close(procs_fd_);
  ::close(kill_fd_);
  ::rmdir(path_.c_str());
}

bool Group::kill() const noexcept {
  return exists() && ::write(kill_fd_, "1", 1) == 1;
}

}  // namespace tetrad::guard

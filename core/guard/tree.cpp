#include "guard/tree.h"

#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace tetrad::guard {

namespace {

bool alive(const ProcStat& stat) noexcept {
  const bool zombie = stat.state == 'Z' || stat.state == 'X' || stat.state == 'x';
  return !zombie || stat.threads > 1;  // a main thread may end before the others
}

// SIGKILL to exactly this process: the descriptor holds it, the start time proves that the number was not
// reused.
bool kill_exactly(const ProcStat& stat) noexcept {
  const int fd = static_cast<int>(::syscall(SYS_pidfd_open, stat.pid, 0));
  if (fd < 0 && errno != ENOSYS && errno != EPERM) return false;
  const auto now = read_stat(stat.pid);
  const bool same = now && now->start_ticks == stat.start_ticks;
  bool sent = false;
  if (same) {
    sent = (fd >= 0 ? ::syscall(SYS_pidfd_send_signal, fd, SIGKILL, nullptr, 0)
                    : ::kill(stat.pid, SIGKILL)) == 0;
  }
  if (fd >= 0) ::close(fd);
  return sent;
}

// Whether this process has any child, dead or alive; a subreaper's orphaned descendants are among them.
bool has_children() noexcept {
  siginfo_t info{};
  return ::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 || errno != ECHILD;
}

}  // namespace

std::int64_t monotonic_ns() noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}

ProcessTree::ProcessTree(pid_t supervisor, std::size_t max_processes)
    : supervisor_(supervisor), table_(max_processes) {}

void ProcessTree::add(void* self, pid_t pid) {
  auto& tree = *static_cast<ProcessTree*>(self);
  if (tree.entries_ == tree.table_.size()) {
    tree.overflow_ = true;
    return;
  }
  if (pid == tree.supervisor_) return;
  if (const auto stat = read_stat(pid)) tree.table_[tree.entries_++] = *stat;
}

bool ProcessTree::refresh() noexcept {
  entries_ = 0;
  members_ = 0;
  overflow_ = false;
  if (!for_each_pid("/proc", add, this)) return false;
  const auto first = table_.begin();
  const auto last = first + static_cast<std::ptrdiff_t>(entries_);
  // Grow the set of members at the front of the table until a pass adds nobody. Zombies stay members while
  // the search runs: a living child may still hang under one for an instant.
  auto members_end = std::partition(first, last, [&](const ProcStat& p) { return p.parent == supervisor_; });
  auto frontier = first;
  while (frontier != members_end) {
    const auto frontier_end = members_end;
    std::sort(frontier, frontier_end, [](const ProcStat& a, const ProcStat& b) { return a.pid < b.pid; });
    members_end = std::partition(members_end, last, [&](const ProcStat& p) {
      const auto at = std::lower_bound(frontier, frontier_end, p.parent,
                                       [](const ProcStat& a, pid_t pid) { return a.pid < pid; });
      return at != frontier_end && at->pid == p.parent;
    });
    frontier = frontier_end;
  }
  members_ = static_cast<std::size_t>(std::partition(first, members_end, alive) - first);
  return !overflow_;
}

std::optional<std::uint64_t> ProcessTree::memory() noexcept {
  if (!refresh()) return std::nullopt;
  std::uint64_t sum = 0;
  for (const ProcStat& member : *this) {
    const ProcessMemory memory = read_process_memory(member.pid);
    if (memory.reading == Reading::unknown) return std::nullopt;
    if (memory.reading == Reading::value) sum += memory.bytes;
  }
  return sum;
}

std::size_t ProcessTree::kill_once() noexcept {
  std::size_t signalled = 0;
  for (const ProcStat& member : *this) signalled += kill_exactly(member) ? 1 : 0;
  return signalled;
}

std::size_t ProcessTree::kill_all(double patience_secs, void (*reap)(void*), void* context) noexcept {
  const std::int64_t end = monotonic_ns() + static_cast<std::int64_t>(patience_secs * 1e9);
  int empty_scans = 0;
  for (;;) {
    refresh();
    // A chain of forks can be ahead of every scan; the kernel's word counts where it is asked about our own
    // children.
    const bool left = members_ > 0 || (reap != nullptr && supervisor_ == ::getpid() && has_children());
    empty_scans = left ? 0 : empty_scans + 1;
    if (empty_scans == 2) return 0;
    if (monotonic_ns() >= end) return left ? std::max<std::size_t>(members_, 1) : 0;
    kill_once();
    if (reap != nullptr) reap(context);
    if (left) ::poll(nullptr, 0, 1);
  }
}

}  // namespace tetrad::guard

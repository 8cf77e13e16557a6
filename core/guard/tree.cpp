#include "guard/tree.h"

#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

namespace tetrad::guard {

namespace {

constexpr std::uint64_t much_memory = std::uint64_t{32} << 20;
constexpr int highest_priority = -20;
constexpr int quick_scans = 4;       // right after the kill: whoever was just being forked is found by them
constexpr int longest_wait_ms = 50;  // between later scans, unless the processes end before
constexpr std::size_t most_waited = 64;

#ifndef SYS_process_mrelease
#define SYS_process_mrelease 448  // the same number on every architecture
#endif

bool alive(const ProcStat& stat) noexcept {
  const bool zombie = stat.state == 'Z' || stat.state == 'X' || stat.state == 'x';
  return !zombie || stat.threads > 1;  // a main thread may end before the others
}

}  // namespace

bool kill_exactly(pid_t pid, std::uint64_t start_ticks) noexcept {
  const int fd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  if (fd < 0 && errno != ENOSYS && errno != EPERM) return false;
  const auto now = read_stat(pid);
  const bool same = now && now->start_ticks == start_ticks;
  bool sent = false;
  if (same) {
    sent = (fd >= 0 ? ::syscall(SYS_pidfd_send_signal, fd, SIGKILL, nullptr, 0) : ::kill(pid, SIGKILL)) == 0;
  }
  if (fd >= 0) ::close(fd);
  return sent;
}

bool release_memory(pid_t pid, std::uint64_t start_ticks) noexcept {
  const int fd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  if (fd < 0) return false;
  const auto now = read_stat(pid);
  const bool same = now && now->start_ticks == start_ticks;
  const bool released = same && ::syscall(SYS_process_mrelease, fd, 0) == 0;
  ::close(fd);
  return released;
}

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
  if (pid == tree.supervisor_ || tree.excluded(pid)) return;
  if (const auto stat = read_stat(pid)) tree.table_[tree.entries_++] = Member{*stat};
}

void ProcessTree::exclude(pid_t pid) noexcept {
  const auto free = std::find(excluded_.begin(), excluded_.end(), 0);
  if (free != excluded_.end()) *free = pid;
}

void ProcessTree::include(pid_t pid) noexcept {
  std::replace(excluded_.begin(), excluded_.end(), pid, pid_t{0});
}

bool ProcessTree::excluded(pid_t pid) const noexcept {
  return std::find(excluded_.begin(), excluded_.end(), pid) != excluded_.end();
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
  auto members_end = std::partition(first, last, [&](const Member& p) { return p.parent == supervisor_; });
  auto frontier = first;
  while (frontier != members_end) {
    const auto frontier_end = members_end;
    std::sort(frontier, frontier_end, [](const Member& a, const Member& b) { return a.pid < b.pid; });
    members_end = std::partition(members_end, last, [&](const Member& p) {
      const auto at = std::lower_bound(frontier, frontier_end, p.parent,
                                       [](const Member& a, pid_t pid) { return a.pid < pid; });
      return at != frontier_end && at->pid == p.parent;
    });
    frontier = frontier_end;
  }
  members_ = static_cast<std::size_t>(std::partition(first, members_end, alive) - first);
  return !overflow_;
}

void ProcessTree::add_child(void* self, pid_t pid) {
  auto& tree = *static_cast<ProcessTree*>(self);
  if (tree.excluded(pid)) return;
  for (const Member& member : tree) {
    if (member.pid == pid) return;
  }
  if (tree.members_ == tree.table_.size()) {
    tree.overflow_ = true;
    return;
  }
  const auto stat = read_stat(pid);
  if (stat && alive(*stat)) tree.table_[tree.members_++] = Member{*stat};
}

bool ProcessTree::refresh_children() noexcept {
  // The search for known members is linear: beyond this the whole table is as cheap.
  constexpr std::size_t most = 256;
  if (!child_lists_ || members_ > most) return refresh();
  overflow_ = false;
  if (!for_each_child(supervisor_, add_child, this)) {
    child_lists_ = false;
    return refresh();
  }
  // The members grow while this goes on, so that grandchildren are found too.
  for (std::size_t i = 0; i < members_; ++i) for_each_child(table_[i].pid, add_child, this);
  return !overflow_;
}

std::optional<ProcessTree::Memory> ProcessTree::read_memory() noexcept {
  Memory result;
  for (std::size_t i = 0; i < members_; ++i) {
    Member& member = table_[i];
    const ProcessMemory memory = read_process_memory(member.pid);
    if (memory.reading == Reading::unknown) return std::nullopt;
    member.bytes = memory.reading == Reading::value ? memory.bytes : 0;
    if (memory.reading == Reading::gone) ++result.gone;
    result.sum += member.bytes;
    result.largest = std::max(result.largest, member.bytes);
  }
  return result;
}

std::optional<std::uint64_t> ProcessTree::memory() noexcept {
  if (!refresh()) return std::nullopt;
  const auto memory = read_memory();
  return memory ? std::optional(memory->sum) : std::nullopt;
}

void ProcessTree::note_child(void* self, pid_t pid) {
  auto& tree = *static_cast<ProcessTree*>(self);
  if (!tree.excluded(pid)) tree.child_seen_ = true;
}

bool ProcessTree::has_children() noexcept {
  siginfo_t info{};
  if (::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 && errno == ECHILD) return false;
  child_seen_ = false;
  // Without the kernel's list nothing more is known: the scans decide.
  return for_each_child(supervisor_, note_child, this) && child_seen_;
}

std::size_t ProcessTree::kill_once() noexcept {
  std::size_t signalled = 0;
  for (const Member& member : *this) signalled += kill_exactly(member.pid, member.start_ticks) ? 1 : 0;
  return signalled;
}

void ProcessTree::hasten() noexcept {
  for (const Member& member : *this) {
    if (member.bytes < much_memory) continue;
    char tasks[32];
    std::snprintf(tasks, sizeof tasks, "/proc/%d/task", member.pid);
    // The last thread to end gives the memory back, whichever it is.
    for_each_pid(
        tasks,
        [](void*, pid_t thread) { ::setpriority(PRIO_PROCESS, static_cast<id_t>(thread), highest_priority); },
        nullptr);
  }
}

void ProcessTree::wait_for_ends(int longest_ms) const noexcept {
  const std::int64_t end = monotonic_ns() + std::int64_t{longest_ms} * 1'000'000;
  std::array<pollfd, most_waited> waited{};
  std::size_t count = 0;
  for (const Member& member : *this) {
    if (count == most_waited) break;
    const int fd = static_cast<int>(::syscall(SYS_pidfd_open, member.pid, 0));
    if (fd >= 0) waited[count++] = {fd, POLLIN, 0};
  }
  const std::array<pollfd, most_waited> opened = waited;
  for (std::size_t running = count;;) {
    const std::int64_t left_ms = (end - monotonic_ns() + 999'999) / 1'000'000;
    // Nobody to wait for: without descriptors the time is what there is, else the work is done.
    if (left_ms <= 0 || (count > 0 && running == 0)) break;
    if (::poll(waited.data(), count, static_cast<int>(left_ms)) <= 0) break;
    for (std::size_t i = 0; i < count; ++i) {
      if (waited[i].fd < 0 || waited[i].revents == 0) continue;
      waited[i].fd = -1;
      --running;
    }
  }
  for (std::size_t i = 0; i < count; ++i) ::close(opened[i].fd);
}

std::size_t ProcessTree::kill_all(double patience_secs, void (*reap)(void*), void* context) noexcept {
  const std::int64_t end = monotonic_ns() + static_cast<std::int64_t>(patience_secs * 1e9);
  int scans = 0;
  int empty_scans = 0;
  std::uint64_t newest = 0;
  kill_once();  // those that are known, before all else
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
    // Giving memory back takes the kernel a while; scanning meanwhile would take it the processor.
    if (!left) continue;
    std::uint64_t youngest = 0;
    for (const Member& member : *this) youngest = std::max(youngest, member.start_ticks);
    if (youngest > newest || members_ == 0) scans = 0;  // somebody still forks
    newest = std::max(newest, youngest);
    wait_for_ends(++scans <= quick_scans ? scans : longest_wait_ms);
  }
}

}  // namespace tetrad::guard

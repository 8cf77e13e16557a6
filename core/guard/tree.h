// The process tree under a supervisor: everything that descends from it, itself excluded. The supervisor is a
// child subreaper, so a process whose parent died hangs under the supervisor again and cannot leave the tree
// (double fork and setsid included). sample() reads, kill_all() acts; both work while the tree is stopped
// (SIGSTOP), and neither allocates once the object exists, up to the number of processes it was made for.
#pragma once

#include "guard/proc.h"

#include <cstdint>
#include <optional>
#include <vector>

namespace tetrad::guard {

class ProcessTree {
 public:
  // supervisor: whose descendants count. Room for max_processes of the whole machine is taken now.
  explicit ProcessTree(pid_t supervisor, std::size_t max_processes = 32768);

  // Reads the table of processes again. False when /proc cannot be listed.
  bool refresh() noexcept;

  // Living members by the last refresh().
  std::size_t size() const noexcept { return members_; }
  const ProcStat* begin() const noexcept { return table_.data(); }
  const ProcStat* end() const noexcept { return table_.data() + members_; }

  // Sum of RssAnon + RssShmem over the tree. Pages that several members share count once for each of them:
  // the sum errs on the side of too much. Nothing when /proc cannot be listed or a living member cannot be
  // read.
  std::optional<std::uint64_t> memory() noexcept;

  // SIGKILL to every member. Returns how many were signalled.
  std::size_t kill_once() noexcept;

  // kill_once() until two scans in a row find nobody alive or `patience_secs` have passed (a process in
  // uninterruptible sleep). Calls reap(context) between scans, so that the supervisor collects its zombies;
  // with it, and called by the supervisor, the kernel must also say that no child is left: a chain of forks
  // whose links end at once can be ahead of every scan. Returns the members still alive at the end.
  std::size_t kill_all(double patience_secs, void (*reap)(void*), void* context) noexcept;

 private:
  static void add(void* self, pid_t pid);

  pid_t supervisor_;
  std::vector<ProcStat> table_;  // after refresh(): the members first, sorted by pid
  std::size_t members_ = 0;
  std::size_t entries_ = 0;
  bool overflow_ = false;
};

std::int64_t monotonic_ns() noexcept;

}  // namespace tetrad::guard

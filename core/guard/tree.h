// The process tree under a supervisor: everything that descends from it, itself and its own helpers excluded.
// The supervisor is a child subreaper, so a process whose parent died hangs under the supervisor again and
// cannot leave the tree (double fork and setsid included); and a process outside never comes in. memory()
// reads, kill_all() acts; both work while the tree is stopped (SIGSTOP), and neither allocates once the
// object exists, up to the number of processes it was made for.
#pragma once

#include "guard/proc.h"

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

namespace tetrad::guard {

class ProcessTree {
 public:
  struct Member : ProcStat {
    std::uint64_t bytes = 0;  // RssAnon + RssShmem by the last memory(); 0 before and where there is none
  };

  // supervisor: whose descendants count. Room for max_processes of the whole machine is taken now.
  explicit ProcessTree(pid_t supervisor, std::size_t max_processes = 32768);

  // `pid`, a child of the supervisor, and what descends from it are no members. At most 8.
  void exclude(pid_t pid) noexcept;
  void include(pid_t pid) noexcept;  // takes exclude() back: the process has ended

  // Reads the table of all processes again. False when /proc cannot be listed.
  bool refresh() noexcept;

  // Adds what the members have forked since, by the lists of their children: a few microseconds a member,
  // where refresh() looks at every process of the machine. Falls back to refresh() where the kernel has no
  // such lists. Members that have ended stay until the next refresh().
  bool refresh_children() noexcept;

  // Living members by the last refresh.
  std::size_t size() const noexcept { return members_; }
  const Member* begin() const noexcept { return table_.data(); }
  const Member* end() const noexcept { return table_.data() + members_; }

  // Resident memory of the tree by the last refresh.
  struct Memory {
    std::uint64_t sum = 0;      // of RssAnon + RssShmem; pages that several members share count for each
    std::uint64_t largest = 0;  // of one member: the tree has at least that
    std::size_t gone = 0;       // members without memory: ended since the refresh
  };
  // Nothing when a living member cannot be read.
  std::optional<Memory> read_memory() noexcept;

  // refresh() and the sum of read_memory(), for callers that look once.
  std::optional<std::uint64_t> memory() noexcept;

  // Whether the calling process, as supervisor, has a child that is not excluded, dead or alive; a
  // subreaper's orphaned descendants are among them. False where the kernel does not tell.
  bool has_children() noexcept;

  // SIGKILL to every member. Returns how many were signalled.
  std::size_t kill_once() noexcept;

  // For members that SIGKILL was sent to: those with much memory get the processor before ordinary programs,
  // where we may decide that, so that a busy machine does not hold up giving their memory back.
  void hasten() noexcept;

  // kill_once() until two scans in a row find nobody alive or `patience_secs` have passed (a process in
  // uninterruptible sleep). Calls reap(context) between scans, so that the supervisor collects its zombies;
  // with it, and called by the supervisor, the kernel must also say that no child is left: a chain of forks
  // whose links end at once can be ahead of every scan. Returns the members still alive at the end.
  std::size_t kill_all(double patience_secs, void (*reap)(void*), void* context) noexcept;

 private:
  void wait_for_ends(int longest_ms) const noexcept;
  static void add(void* self, pid_t pid);
  static void add_child(void* self, pid_t pid);
  static void note_child(void* self, pid_t pid);
  bool excluded(pid_t pid) const noexcept;

  pid_t supervisor_;
  std::vector<Member> table_;  // the members first; after refresh() sorted by pid within a generation
  std::size_t members_ = 0;
  std::size_t entries_ = 0;
  bool overflow_ = false;
  std::array<pid_t, 8> excluded_{};
  bool child_lists_ = true;  // until the kernel is seen to have none
  bool child_seen_ = false;
};

// Gives back the memory of a process that SIGKILL was sent to, beside its own ending: that is done in the
// process itself, on one processor, and only once it runs. Takes as long as the memory is large. False where
// the process is gone already or was not killed, and before Linux 5.15: it then ends without help.
bool release_memory(pid_t pid, std::uint64_t start_ticks) noexcept;

// SIGKILL to exactly this process: a descriptor holds it, and the start time proves that the number was not
// reused. False when it is not there any more.
bool kill_exactly(pid_t pid, std::uint64_t start_ticks) noexcept;

std::int64_t monotonic_ns() noexcept;

}  // namespace tetrad::guard

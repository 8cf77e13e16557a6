// The guard of a run as a clockwork for the supervisor's poll loop: it says when it wants to look next,
// looks, and says whether the tree has to die; the supervisor then calls kill(). It never waits and never
// prints on its own, so that a blocked terminal cannot hold it up. Needs no cooperation of the guarded
// program.
#pragma once

#include "guard/policy.h"
#include "guard/tree.h"

#include <string>

namespace tetrad::guard {

class Guard {
 public:
  Guard(const Limits& limits, pid_t supervisor);

  // False when neither limit nor floor is set: tick() need not be called.
  bool watches() const noexcept;

  // When the next reading is due, CLOCK_MONOTONIC in ns.
  std::int64_t next_ns() const noexcept { return next_ns_; }

  // Takes a reading if one is due and judges it. True: the tree has to be killed.
  bool tick() noexcept;

  // "[guard] limit exceeded: tree_mem=2100 MiB available=9000 MiB limit=2048 MiB rule=tree_limit; killing 3
  // processes"
  std::string kill_line() const;

  // "[guard] peak tree=1500 MiB lowest_available=9000 MiB"; unknown where it was never read;
  // how many readings of the tree failed, if any did.
  std::string last_line() const;

  // The extremes that last_line() names.
  const State& state() const noexcept { return state_; }

  // Kills the whole tree; see ProcessTree::kill_all.
  std::size_t kill(double patience_secs, void (*reap)(void*), void* context) noexcept;

 private:
  Limits limits_;
  ProcessTree tree_;
  State state_;
  Sample sample_;
  Decision decision_;
  std::uint64_t readings_ = 0;
  std::uint64_t unknown_readings_ = 0;  // of the tree
  std::int64_t next_ns_ = 0;
};

}  // namespace tetrad::guard

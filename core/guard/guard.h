// The guard of a run as a clockwork for the supervisor's poll loop: it says when it wants to look next,
// looks, and says what has to be done; the supervisor acts. It never waits for a sensor and never prints on
// its own, so that a hanging driver or a blocked terminal cannot hold it up. Needs no cooperation of the
// guarded program. What it reads by itself at each look cannot hang: /proc/meminfo, and status and children
// of each process; everything else comes from helper processes (sensor_feed.h).
#pragma once

#include "guard/account.h"
#include "guard/policy.h"
#include "guard/record.h"
#include "guard/sensor_feed.h"
#include "guard/tree.h"

#include <memory>
#include <string>
#include <vector>

namespace tetrad::guard {

class Guard {
 public:
  // `tree` must outlive the guard.
  Guard(const Limits& limits, ProcessTree& tree, std::vector<std::unique_ptr<SensorFeed>> feeds = {});

  // False when neither limit nor floor is set: tick() need not be called.
  bool watches() const noexcept;

  // When the next reading is due, CLOCK_MONOTONIC in ns.
  std::int64_t next_ns() const noexcept { return next_ns_; }

  // Takes a reading if one is due and judges it. True: there is a new decision().
  bool tick() noexcept;
  const Decision& decision() const noexcept { return decision_; }
  const Sample& sample() const noexcept { return sample_; }

  const Limits& limits() const noexcept { return limits_; }
  // Other limits from the next reading on.
  void set_limits(const Limits& limits) noexcept;

  // The members of the tree as of the last reading.
  const std::vector<GuardProcess>& members() const noexcept { return members_; }

  // "[guard] limit exceeded: tree_mem=2100 MiB total_mem=9100 MiB available=9000 MiB limit=2048 MiB
  // rule=tree_limit; killing 3 processes"
  std::string kill_line() const;

  // "[guard] peak tree=1500 MiB total=9000 MiB lowest_available=9000 MiB at=turn 2"; unknown where it was
  // never read; how many readings of the tree failed, if any did. `device=` stands there where devices have
  // memory of their own.
  std::string last_line() const;

  // Where the run is now ("model_loading", "turn 2"): named with the peak that is reached there.
  void set_phase(std::string phase) { phase_ = std::move(phase); }
  const std::string& phase() const noexcept { return phase_; }

  // The extremes that last_line() names.
  const State& state() const noexcept { return state_; }

  // Lines about sensors that fell silent or came back, once each.
  std::vector<std::string> take_notes();

  // What a kill report is made of: fills in everything up to the decision.
  KillRecord start_record() const;
  const SampleRing& ring() const noexcept { return ring_; }

  // A child that the supervisor collected. True: it was a sensor's helper.
  bool helper_ended(pid_t pid, int status) noexcept;
  const std::vector<std::unique_ptr<SensorFeed>>& feeds() const noexcept { return feeds_; }

 private:
  void refresh_members(std::int64_t now) noexcept;
  std::optional<std::uint64_t> read_tree(std::int64_t now, std::optional<std::uint64_t> available);
  void read_feeds(std::int64_t now);
  void note_feed(std::size_t index);

  Limits limits_;
  ProcessTree& tree_;
  std::vector<std::unique_ptr<SensorFeed>> feeds_;
  std::vector<std::string> said_;  // of each feed: the problem that was reported
  std::vector<std::string> notes_;
  std::vector<GuardProcess> members_;
  State state_;
  Sample sample_;
  Decision decision_;
  SharedPages shared_;
  History history_;
  DeviceReading devices_;
  SampleRing ring_;
  std::optional<std::uint64_t> machine_bytes_;  // MemTotal
  std::optional<std::uint64_t> total_bytes_, peak_total_bytes_;
  std::string phase_ = "start", peak_phase_ = "unknown";
  std::uint64_t readings_ = 0;
  std::uint64_t unknown_readings_ = 0;  // of the tree
  std::uint64_t sum_bytes_ = 0;         // of the tree, shared pages as often as they are used
  double reaction_secs_ = 0.005, measured_secs_ = 0;
  std::int64_t next_ns_ = 0;
  std::int64_t due_ns_ = 0;
  std::int64_t next_members_ns_ = 0;
  std::int64_t next_full_ns_ = 0;
  bool members_known_ = false;
};

}  // namespace tetrad::guard

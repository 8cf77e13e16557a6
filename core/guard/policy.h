// The guard's decision as a pure function: limits, the state kept between samples, and one sample give a
// verdict. No clock, no I/O, no memory: tables and recorded traces test it directly. Sizes in bytes, times in
// seconds except Sample::mono_ns. An unknown reading is std::nullopt, never 0: it neither starts, clears nor
// ends a period over the limit. Background: the limit acts once the tree has been over it for over_secs
// without a reading at or under it; the floor on MemAvailable acts at once, because below it the machine
// itself is at stake.
#pragma once

#include <cstdint>
#include <optional>

namespace tetrad::guard {

struct Limits {
  std::optional<std::uint64_t> limit_bytes;  // of the process tree; nothing = no limit
  double over_secs = 0;                      // 0: the first reading over the limit ends the run
  double poll_secs = 0.5;                    // upper bound of the time between two readings
  std::uint64_t host_floor_bytes = 0;        // of MemAvailable; 0 = no floor
};

struct Sample {
  std::int64_t mono_ns = 0;                      // CLOCK_MONOTONIC
  std::optional<std::uint64_t> tree_bytes;       // anonymous + shared resident bytes of the process tree
  std::optional<std::uint64_t> available_bytes;  // MemAvailable
};

enum class Rule { none, tree_limit, host_floor };
enum class Verdict { ok, over, kill };  // over: above the limit, over_secs not yet passed

const char* rule_name(Rule rule) noexcept;  // "none", "tree_limit", "host_floor"

struct Decision {
  Verdict verdict = Verdict::ok;
  Rule rule = Rule::none;
};

// What the policy remembers, and the extremes that the last line reports.
struct State {
  std::optional<std::int64_t> over_since_ns;
  std::optional<std::int64_t> last_ns;
  std::optional<std::uint64_t> peak_tree_bytes;
  std::optional<std::uint64_t> lowest_available_bytes;
};

// Judges one sample and advances the state. Samples come in the order of their time. After a gap much longer
// than poll_secs (the guard was stopped, the machine slept) the period over the limit starts anew: what
// happened in the gap was not seen.
Decision judge(const Limits& limits, State& state, const Sample& sample) noexcept;

}  // namespace tetrad::guard

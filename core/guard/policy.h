// The guard's decision as a pure function: limits, the state kept between samples, and one sample give a
// verdict and the time until the next sample. No clock, no I/O, no memory: tables and recorded traces test it
// directly. Sizes in bytes, times in seconds except Sample::mono_ns. An unknown reading is std::nullopt,
// never 0: it neither starts, clears nor ends a period over a limit.
//
// Two pools of memory, or one: the host memory of the process tree is held against limit_bytes and its device
// memory against device_limit_bytes, each for itself; on unified memory their sum against limit_bytes. A
// limit acts once the tree has been over it for over_secs without a reading at or under it. With over_secs =
// 0 it also acts on growth that will have passed it before a later reading could end the run: no further
// ahead than the reaction time, and only within prediction_window() of the limit. The floor on MemAvailable
// acts at once, because below it the machine itself is at stake. The soft stage comes first where there is
// time for it.
#pragma once

#include <cstdint>
#include <optional>

namespace tetrad::guard {

enum class DeviceLimit { none, automatic, same };  // same: the number given for the host

struct Limits {
  std::optional<std::uint64_t> limit_bytes;  // of the process tree; nothing = no limit
  double over_secs = 0;                      // 0: the first reading over the limit ends the run
  double poll_secs = 0.5;                    // upper bound of the time between two readings
  std::uint64_t host_floor_bytes = 0;        // of MemAvailable; 0 = no floor
  std::optional<std::uint64_t> device_limit_bytes =
      std::nullopt;  // of the tree on devices of their own memory
  std::optional<std::uint64_t> soft_bytes =
      std::nullopt;  // from here the program is asked to give memory back
  std::optional<std::uint64_t> device_soft_bytes = std::nullopt;
  DeviceLimit device_mode = DeviceLimit::none;  // how device_limit_bytes follows once a device is seen
};

struct Sample {
  std::int64_t mono_ns = 0;                      // CLOCK_MONOTONIC
  std::optional<std::uint64_t> tree_bytes;       // anonymous + shared resident bytes of the process tree
  std::optional<std::uint64_t> available_bytes;  // MemAvailable
  std::optional<std::uint64_t> device_bytes = std::nullopt;  // device memory of the process tree
  bool unified = false;                                      // device memory is host memory
  double reaction_secs = 0;                                  // measured: from a moment to the kill it causes
};

enum class Rule { none, tree_limit, device_limit, unified_limit, predicted, host_floor };
enum class Verdict { ok, soft, over, kill };  // over: above the limit, over_secs not yet passed

// "none", "tree_limit", "device_limit", "unified_limit", "predicted", "host_floor"
const char* rule_name(Rule rule) noexcept;

struct Decision {
  Verdict verdict = Verdict::ok;
  Rule rule = Rule::none;
  double next_secs = 0;  // when to look again
  // The pool that the rule is about: what the tree has, and what it was held against. Nothing with
  // host_floor.
  std::optional<std::uint64_t> bytes = std::nullopt;
  std::optional<std::uint64_t> limit_bytes = std::nullopt;
  double rate = 0;  // growth of that pool, bytes a second
};

// Growth of one pool, and since when it has been over its limit.
struct PoolState {
  std::optional<std::int64_t> over_since_ns;
  std::optional<std::int64_t> at_ns;
  std::uint64_t bytes = 0;
  double rate = 0;      // of the last interval
  double previous = 0;  // of the one before
  double fastest = 0;   // of the last seconds: halves every second
};

// What the policy remembers, and the extremes that the last line reports.
struct State {
  std::optional<std::int64_t> last_ns;
  std::optional<std::uint64_t> peak_tree_bytes;  // host bytes; with unified memory host + device
  std::optional<std::uint64_t> peak_device_bytes;
  std::optional<std::uint64_t> lowest_available_bytes;
  PoolState host, device;
  bool soft_asked = false;  // until the tree is clearly below the soft limit again
};

// How far below a limit a prediction may act: 4 % of it, at most 256 MiB.
std::uint64_t prediction_window(std::uint64_t limit_bytes) noexcept;

// Judges one sample and advances the state. Samples come in the order of their time. After a gap much longer
// than poll_secs (the guard was stopped, the machine slept) the period over the limit starts anew: what
// happened in the gap was not seen. Verdict::soft comes once for each time that the soft limit is passed.
Decision judge(const Limits& limits, State& state, const Sample& sample) noexcept;

}  // namespace tetrad::guard

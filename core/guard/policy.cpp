#include "guard/policy.h"

#include <algorithm>

namespace tetrad::guard {

namespace {

// A gap longer than this many polls (and than this many seconds) means that the guard itself did not run.
constexpr double gap_polls = 10;
constexpr double gap_secs = 5;

double seconds_between(std::int64_t from_ns, std::int64_t to_ns) noexcept {
  return static_cast<double>(to_ns - from_ns) * 1e-9;
}

}  // namespace

const char* rule_name(Rule rule) noexcept {
  switch (rule) {
    case Rule::none:
      return "none";
    case Rule::tree_limit:
      return "tree_limit";
    case Rule::host_floor:
      return "host_floor";
  }
  return "none";
}

Decision judge(const Limits& limits, State& state, const Sample& sample) noexcept {
  if (state.last_ns) {
    const double gap = seconds_between(*state.last_ns, sample.mono_ns);
    if (gap > std::max(gap_secs, gap_polls * limits.poll_secs)) state.over_since_ns.reset();
  }
  state.last_ns = sample.mono_ns;
  if (sample.tree_bytes) {
    state.peak_tree_bytes = std::max(state.peak_tree_bytes.value_or(0), *sample.tree_bytes);
  }
  if (sample.available_bytes) {
    state.lowest_available_bytes =
        std::min(state.lowest_available_bytes.value_or(*sample.available_bytes), *sample.available_bytes);
    if (*sample.available_bytes < limits.host_floor_bytes) return {Verdict::kill, Rule::host_floor};
  }
  if (!limits.limit_bytes || !sample.tree_bytes) return {};
  if (*sample.tree_bytes <= *limits.limit_bytes) {
    state.over_since_ns.reset();
    return {};
  }
  if (!state.over_since_ns) state.over_since_ns = sample.mono_ns;
  const bool long_enough = seconds_between(*state.over_since_ns, sample.mono_ns) >= limits.over_secs;
  return {long_enough ? Verdict::kill : Verdict::over, Rule::tree_limit};
}

}  // namespace tetrad::guard

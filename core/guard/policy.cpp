#include "guard/policy.h"

#include <algorithm>
#include <cmath>

namespace tetrad::guard {

namespace {

// A gap longer than this many polls (and than this many seconds) means that the guard itself did not run.
constexpr double gap_polls = 10;
constexpr double gap_secs = 5;

// How fast memory is taken to fill up as long as nothing faster was seen; half of the time that the headroom
// lasts at this rate is the time to the next reading.
constexpr double presumed_rate = 8.0 * 1024 * 1024 * 1024;
constexpr double shortest_poll_secs = 0.002;
constexpr double shortest_interval_secs = 0.001;  // of two readings that give a rate
constexpr double soft_clear_share = 0.95;         // of the soft limit: below, it can be passed again

double seconds_between(std::int64_t from_ns, std::int64_t to_ns) noexcept {
  return static_cast<double>(to_ns - from_ns) * 1e-9;
}

void advance(PoolState& growth, std::int64_t now_ns, std::uint64_t bytes) noexcept {
  if (!growth.at_ns) {
    growth.at_ns = now_ns;
    growth.bytes = bytes;
    return;
  }
  const double secs = seconds_between(*growth.at_ns, now_ns);
  if (secs < shortest_interval_secs) return;
  growth.previous = growth.rate;
  growth.rate = std::max(0.0, (static_cast<double>(bytes) - static_cast<double>(growth.bytes)) / secs);
  growth.fastest = std::max(growth.rate, growth.fastest * std::exp2(-secs));
  growth.at_ns = now_ns;
  growth.bytes = bytes;
}

struct Pool {
  std::uint64_t bytes = 0;
  std::optional<std::uint64_t> limit, soft;
  Rule rule = Rule::none;
  PoolState* state = nullptr;
};

// Whether growth as it is will have passed the limit before the next reading could act. Of two intervals the
// slower rate counts: one leap is no growth.
bool foreseen(const Pool& pool, double reaction_secs) noexcept {
  const double limit = static_cast<double>(*pool.limit);
  const double bytes = static_cast<double>(pool.bytes);
  if (bytes < limit - static_cast<double>(prediction_window(*pool.limit))) return false;
  const double rate = std::min(pool.state->rate, pool.state->previous);
  return bytes + rate * reaction_secs > limit;
}

double time_to_look(const Limits& limits, double headroom, const PoolState& growth) noexcept {
  const double rate = std::max(presumed_rate, 2 * growth.fastest);
  return std::clamp(headroom / rate / 2, shortest_poll_secs, std::max(shortest_poll_secs, limits.poll_secs));
}

bool over_long_enough(const Limits& limits, PoolState& pool, std::int64_t now_ns) noexcept {
  if (!pool.over_since_ns) pool.over_since_ns = now_ns;
  return seconds_between(*pool.over_since_ns, now_ns) >= limits.over_secs;
}

void keep_extremes(State& state, const Sample& sample, std::optional<std::uint64_t> tree) noexcept {
  const auto raise = [](std::optional<std::uint64_t>& peak, std::optional<std::uint64_t> now) {
    if (now) peak = std::max(peak.value_or(0), *now);
  };
  raise(state.peak_tree_bytes, tree);
  raise(state.peak_device_bytes, sample.device_bytes);
  if (sample.available_bytes) {
    state.lowest_available_bytes =
        std::min(state.lowest_available_bytes.value_or(*sample.available_bytes), *sample.available_bytes);
  }
}

}  // namespace

const char* rule_name(Rule rule) noexcept {
  switch (rule) {
    case Rule::none:
      return "none";
    case Rule::tree_limit:
      return "tree_limit";
    case Rule::device_limit:
      return "device_limit";
    case Rule::unified_limit:
      return "unified_limit";
    case Rule::predicted:
      return "predicted";
    case Rule::host_floor:
      return "host_floor";
  }
  return "none";
}

std::uint64_t prediction_window(std::uint64_t limit_bytes) noexcept {
  constexpr std::uint64_t widest = std::uint64_t{256} << 20;
  return std::min(limit_bytes / 25, widest);
}

Decision judge(const Limits& limits, State& state, const Sample& sample) noexcept {
  if (state.last_ns) {
    const double gap = seconds_between(*state.last_ns, sample.mono_ns);
    if (gap > std::max(gap_secs, gap_polls * limits.poll_secs)) {
      state.host = {};
      state.device = {};
    }
  }
  state.last_ns = sample.mono_ns;

  // Of unified memory whose device half is unknown the known half still counts: it is a lower bound.
  const bool sum = sample.unified && sample.device_bytes.has_value();
  std::optional<std::uint64_t> tree = sample.tree_bytes;
  if (tree && sum) *tree += *sample.device_bytes;
  keep_extremes(state, sample, tree);
  if (tree) advance(state.host, sample.mono_ns, *tree);
  if (sample.device_bytes && !sample.unified) advance(state.device, sample.mono_ns, *sample.device_bytes);

  Decision decision;
  decision.next_secs = limits.poll_secs;
  Pool pools[2];
  int count = 0;
  if (tree) {
    pools[count++] = {*tree, limits.limit_bytes, limits.soft_bytes,
                      sum ? Rule::unified_limit : Rule::tree_limit, &state.host};
  }
  if (sample.device_bytes && !sample.unified) {
    pools[count++] = {*sample.device_bytes, limits.device_limit_bytes, limits.device_soft_bytes,
                      Rule::device_limit, &state.device};
  }

  if (limits.host_floor_bytes > 0 && sample.available_bytes) {
    if (*sample.available_bytes < limits.host_floor_bytes) {
      decision.verdict = Verdict::kill;
      decision.rule = Rule::host_floor;
      decision.rate = state.host.rate;
      return decision;
    }
    const double headroom = static_cast<double>(*sample.available_bytes - limits.host_floor_bytes);
    decision.next_secs = std::min(decision.next_secs, time_to_look(limits, headroom, state.host));
  }

  const auto take = [&](const Pool& pool, Verdict verdict, Rule rule) {
    decision.verdict = verdict;
    decision.rule = rule;
    decision.bytes = pool.bytes;
    decision.limit_bytes = pool.limit;
    decision.rate = pool.state->rate;
  };
  for (int i = 0; i < count; ++i) {
    const Pool& pool = pools[i];
    if (!pool.limit) continue;
    if (pool.bytes > *pool.limit) {
      decision.next_secs = std::min(decision.next_secs, 0.05);
      if (over_long_enough(limits, *pool.state, sample.mono_ns)) {
        take(pool, Verdict::kill, pool.rule);
        return decision;
      }
      take(pool, Verdict::over, pool.rule);
      continue;
    }
    pool.state->over_since_ns.reset();
    if (limits.over_secs <= 0 && foreseen(pool, sample.reaction_secs)) {
      take(pool, Verdict::kill, Rule::predicted);
      return decision;
    }
    decision.next_secs = std::min(
        decision.next_secs, time_to_look(limits, static_cast<double>(*pool.limit - pool.bytes), *pool.state));
  }
  bool above_soft = false;
  bool near_soft = false;
  for (int i = 0; i < count; ++i) {
    const Pool& pool = pools[i];
    if (!pool.soft) continue;
    if (static_cast<double>(pool.bytes) > soft_clear_share * static_cast<double>(*pool.soft))
      near_soft = true;
    if (pool.bytes <= *pool.soft) continue;
    above_soft = true;
    if (!state.soft_asked && decision.verdict == Verdict::ok) {
      take(pool, Verdict::soft, pool.rule);
      decision.limit_bytes = pool.soft;
    }
  }
  if (above_soft) state.soft_asked = true;
  if (!near_soft && count > 0) state.soft_asked = false;
  return decision;
}

}  // namespace tetrad::guard

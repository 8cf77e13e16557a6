#include "guard/guard.h"

#include "guard/settings.h"

#include <fmt/format.h>

namespace tetrad::guard {

Guard::Guard(const Limits& limits, pid_t supervisor) : limits_(limits), tree_(supervisor) {}

bool Guard::watches() const noexcept {
  return limits_.limit_bytes || limits_.host_floor_bytes > 0;
}

bool Guard::tick() noexcept {
  const std::int64_t now = monotonic_ns();
  if (now < next_ns_) return decision_.verdict == Verdict::kill;
  next_ns_ = now + static_cast<std::int64_t>(limits_.poll_secs * 1e9);
  sample_ = {now, tree_.memory(), read_meminfo().available_bytes};
  ++readings_;
  if (!sample_.tree_bytes) ++unknown_readings_;
  decision_ = judge(limits_, state_, sample_);
  return decision_.verdict == Verdict::kill;
}

std::string Guard::kill_line() const {
  const std::string limit = decision_.rule == Rule::host_floor
                                ? format_mib(limits_.host_floor_bytes) + " available"
                                : format_or_unknown(limits_.limit_bytes);
  return fmt::format(
      "[guard] limit exceeded: tree_mem={} available={} limit={} rule={}; killing {} processes",
      format_or_unknown(sample_.tree_bytes), format_or_unknown(sample_.available_bytes), limit,
      rule_name(decision_.rule), tree_.size());
}

std::string Guard::last_line() const {
  const std::string gaps = unknown_readings_ == 0 ? ""
                                                  : fmt::format(" ({} of {} readings of the tree failed)",
                                                                unknown_readings_, readings_);
  return fmt::format("[guard] peak tree={} lowest_available={}{}", format_or_unknown(state_.peak_tree_bytes),
                     format_or_unknown(state_.lowest_available_bytes), gaps);
}

std::size_t Guard::kill(double patience_secs, void (*reap)(void*), void* context) noexcept {
  return tree_.kill_all(patience_secs, reap, context);
}

}  // namespace tetrad::guard

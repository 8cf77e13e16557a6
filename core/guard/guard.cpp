#include "guard/guard.h"

#include "guard/settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace tetrad::guard {

namespace {

constexpr std::int64_t second_ns = 1'000'000'000;
constexpr std::int64_t full_scan_ns = 5 * second_ns;
constexpr double helper_period_secs = 0.5;          // while there is headroom
constexpr std::int64_t too_old_ns = 3 * second_ns;  // of a sensor's sample
constexpr std::size_t most_processes_named = 12;

std::int64_t nanoseconds(double seconds) {
  return static_cast<std::int64_t>(seconds * 1e9);
}

}  // namespace

Guard::Guard(const Limits& limits, ProcessTree& tree, std::vector<std::unique_ptr<SensorFeed>> feeds)
    : limits_(limits), tree_(tree), feeds_(std::move(feeds)), said_(feeds_.size()) {
  members_.reserve(most_members);
  for (const auto& feed : feeds_) tree_.exclude(feed->pid());
  machine_bytes_ = read_meminfo().total_bytes;
}

bool Guard::watches() const noexcept {
  return limits_.limit_bytes || limits_.device_limit_bytes || limits_.host_floor_bytes > 0;
}

void Guard::set_limits(const Limits& limits) noexcept {
  limits_ = limits;
  next_ns_ = 0;  // a stricter limit may be passed already
}

// Who is in the tree is looked up less often than what they use, at most a twentieth of the time: a process
// that is a few milliseconds old has little yet.
void Guard::refresh_members(std::int64_t now) noexcept {
  if (now < next_members_ns_ && members_known_) return;
  const bool full = now >= next_full_ns_ || !members_known_;
  members_known_ = full ? tree_.refresh() : tree_.refresh_children();
  const std::int64_t cost = monotonic_ns() - now;
  next_members_ns_ = now + std::clamp<std::int64_t>(20 * cost, 10'000'000, second_ns / 2);
  if (full) next_full_ns_ = now + full_scan_ns;
  members_.clear();
  for (const auto& member : tree_) {
    if (members_.size() == most_members) break;
    members_.push_back({member.pid, member.start_ticks});
  }
}

std::optional<std::uint64_t> Guard::read_tree(std::int64_t now, std::optional<std::uint64_t> available) {
  refresh_members(now);
  if (!members_known_) return std::nullopt;
  const auto memory = tree_.read_memory();
  if (!memory) {
    members_known_ = false;  // somebody in the table may have changed; look at all again
    return std::nullopt;
  }
  if (memory->gone > 0) next_full_ns_ = std::min(next_full_ns_, now + second_ns / 10);
  sum_bytes_ = memory->sum;
  std::optional<std::uint64_t> bound = limits_.limit_bytes;
  if (bound) *bound -= prediction_window(*bound);
  if (bound && limits_.soft_bytes) bound = std::min(*bound, *limits_.soft_bytes);
  if (bound && devices_.unified && devices_.tree_bytes)
    bound = *bound > *devices_.tree_bytes ? *bound - *devices_.tree_bytes : 0;
  return shared_.bytes({now, memory->sum, memory->largest, available}, bound);
}

void Guard::note_feed(std::size_t index) {
  const SensorFeed& feed = *feeds_[index];
  if (feed.problem() == said_[index]) return;
  // A helper that is tried again and again says the same with other numbers: one line is enough.
  const bool silent_before = !said_[index].empty();
  const bool silent_now = feed.sample() == nullptr && !feed.problem().empty();
  if (silent_now && silent_before) return;
  said_[index] = feed.problem();
  notes_.push_back(
      feed.problem().empty()
          ? fmt::format("[guard] {}: answers again", feed.id())
          : fmt::format("[guard] {}: {}{}", feed.id(), feed.problem(),
                        silent_now ? "; what it watches is unknown, the rest is watched on" : ""));
}

void Guard::read_feeds(std::int64_t now) {
  // Slow while there is headroom; near a limit as often as the guard itself looks.
  const double period = std::clamp(decision_.next_secs, 0.01, helper_period_secs);
  const bool want_shares =
      limits_.limit_bytes && sum_bytes_ > *limits_.limit_bytes / 2 && members_.size() > 1;
  DeviceReading devices;
  for (std::size_t i = 0; i < feeds_.size(); ++i) {
    SensorFeed& feed = *feeds_[i];
    const pid_t before = feed.pid();
    const bool changed = feed.update(now);
    if (feed.pid() != before && feed.pid() > 0) tree_.exclude(feed.pid());
    feed.tell(members_, want_shares, period);
    if (changed) note_feed(i);
    const GuardSample* sample = feed.sample();
    if (sample == nullptr || now - feed.sample_end_ns() > too_old_ns) continue;
    if (changed && !sample->shares.empty()) {
      std::uint64_t sum = 0;
      for (const GuardShare& share : sample->shares) sum += share.proportional_bytes;
      const Moment* then = history_.at(sample->shares_ns);
      shared_.take_shares(sample->shares_ns, sum, then != nullptr ? then->available_bytes : std::nullopt);
    }
    if (sample->devices.empty()) continue;
    const Moment moment{now, sample_.tree_bytes, sample_.available_bytes};
    devices = read_devices(*sample, members_, history_, moment);
    if (!devices.unified && devices.capacity_bytes) {
      limits_.device_limit_bytes = device_limit(limits_, *devices.capacity_bytes);
      if (limits_.soft_bytes && limits_.device_limit_bytes)
        limits_.device_soft_bytes = automatic_soft(*limits_.device_limit_bytes);
    }
  }
  devices_ = devices;
}

bool Guard::tick() noexcept {
  const std::int64_t now = monotonic_ns();
  if (now < next_ns_) return false;
  const double late = next_ns_ == 0 ? 0 : static_cast<double>(now - due_ns_) * 1e-9;

  sample_ = {};
  sample_.mono_ns = now;
  sample_.available_bytes = read_meminfo().available_bytes;
  sample_.tree_bytes = read_tree(now, sample_.available_bytes);
  history_.add({now, sample_.tree_bytes, sample_.available_bytes});
  read_feeds(now);
  sample_.device_bytes = devices_.tree_bytes;
  sample_.unified = devices_.unified;
  sample_.reaction_secs = reaction_secs_;
  ++readings_;
  if (!sample_.tree_bytes) ++unknown_readings_;

  const auto peak_before = std::pair(state_.peak_tree_bytes, state_.peak_device_bytes);
  decision_ = judge(limits_, state_, sample_);
  if (peak_before != std::pair(state_.peak_tree_bytes, state_.peak_device_bytes)) peak_phase_ = phase_;
  if (machine_bytes_ && sample_.available_bytes && *machine_bytes_ >= *sample_.available_bytes)
    total_bytes_ = *machine_bytes_ - *sample_.available_bytes;
  if (total_bytes_) peak_total_bytes_ = std::max(peak_total_bytes_.value_or(0), *total_bytes_);
  ring_.add(sample_, decision_.verdict);

  const double cost = static_cast<double>(monotonic_ns() - now) * 1e-9;
  // From a moment to the kill that it causes: until the next reading, its delay, and the reading itself. The
  // measured part follows upwards at once and forgets slowly.
  const double wait = std::max(decision_.next_secs, 10 * cost);
  measured_secs_ = std::max(std::clamp(late, 0.0, 0.05) + cost, measured_secs_ * 0.9);
  reaction_secs_ = std::min(wait, 0.05) + measured_secs_;
  due_ns_ = next_ns_ = now + nanoseconds(std::min(wait, std::max(limits_.poll_secs, 10 * cost)));
  return true;
}

std::string Guard::kill_line() const {
  const bool device_rule = decision_.rule == Rule::device_limit;
  const std::string limit = decision_.rule == Rule::host_floor
                                ? format_mib(limits_.host_floor_bytes) + " available"
                                : format_or_unknown(decision_.limit_bytes);
  return fmt::format(
      "[guard] limit exceeded: tree_mem={} total_mem={} available={} limit={} rule={}; killing {} processes",
      format_or_unknown(decision_.bytes ? decision_.bytes : sample_.tree_bytes),
      format_or_unknown(device_rule ? devices_.total_bytes : total_bytes_),
      format_or_unknown(sample_.available_bytes), limit, rule_name(decision_.rule), tree_.size());
}

std::string Guard::last_line() const {
  const std::string gaps = unknown_readings_ == 0 ? ""
                                                  : fmt::format(" ({} of {} readings of the tree failed)",
                                                                unknown_readings_, readings_);
  const std::string device =
      state_.peak_device_bytes && !sample_.unified ? " device=" + format_mib(*state_.peak_device_bytes) : "";
  return fmt::format("[guard] peak tree={}{} total={} lowest_available={} at={}{}",
                     format_or_unknown(state_.peak_tree_bytes), device, format_or_unknown(peak_total_bytes_),
                     format_or_unknown(state_.lowest_available_bytes), peak_phase_, gaps);
}

std::vector<std::string> Guard::take_notes() {
  return std::exchange(notes_, {});
}

KillRecord Guard::start_record() const {
  KillRecord record;
  record.limits = limits_;
  record.sample = sample_;
  record.decision = decision_;
  record.state = state_;
  record.phase = phase_;
  record.reaction_secs = reaction_secs_;
  record.decided_ns = sample_.mono_ns;
  record.process_count = tree_.size();
  record.sensors = "guard-host";
  std::vector<ProcessTree::Member> members(tree_.begin(), tree_.end());
  std::sort(members.begin(), members.end(), [](const auto& a, const auto& b) { return a.bytes > b.bytes; });
  if (members.size() > most_processes_named) members.resize(most_processes_named);
  for (const auto& member : members) {
    char name[16];
    read_name(member.pid, name);
    record.processes.push_back({member.pid, name, member.bytes, std::nullopt});
  }
  for (const auto& feed : feeds_) {
    if (feed->id() != record.sensors) record.sensors += "," + feed->id();
    if (feed->sample() == nullptr) continue;
    for (const GuardDevice& device : feed->sample()->devices) {
      for (const GuardDeviceRow& row : device.rows) {
        for (ProcessUse& use : record.processes) {
          if (use.pid == row.process.pid && row.bytes)
            use.device_bytes = use.device_bytes.value_or(0) + *row.bytes;
        }
      }
    }
  }
  return record;
}

bool Guard::helper_ended(pid_t pid, int status) noexcept {
  for (std::size_t i = 0; i < feeds_.size(); ++i) {
    if (!feeds_[i]->ended(pid, status)) continue;
    tree_.include(pid);
    note_feed(i);
    return true;
  }
  return false;
}

}  // namespace tetrad::guard

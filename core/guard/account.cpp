#include "guard/account.h"

#include <algorithm>

namespace tetrad::guard {

namespace {

// Older than this a certain moment says nothing about now.
constexpr std::int64_t oldest_certainty_ns = 1'500'000'000;
constexpr std::uint64_t most_doubt = std::uint64_t{256} << 20;

std::uint64_t rise(std::uint64_t before, std::uint64_t now) noexcept {
  return now > before ? now - before : 0;
}

}  // namespace

void History::add(const Moment& moment) noexcept {
  ring_[next_] = moment;
  next_ = (next_ + 1) % size;
  count_ = std::min(count_ + 1, size);
}

const Moment* History::at(std::int64_t mono_ns) const noexcept {
  const Moment* found = nullptr;
  for (std::size_t back = 1; back <= count_; ++back) {
    found = &ring_[(next_ + size - back) % size];
    if (found->mono_ns <= mono_ns) break;
  }
  return found;
}

void SharedPages::take_shares(std::int64_t mono_ns, std::uint64_t proportional_sum,
                              std::optional<std::uint64_t> available_bytes) noexcept {
  if (!available_bytes || mono_ns <= shares_ns_) return;
  shares_ns_ = mono_ns;
  certain_ns_ = mono_ns;
  bytes_ = proportional_sum;
  available_ = *available_bytes;
}

std::uint64_t SharedPages::bytes(const TreeReading& reading, std::optional<std::uint64_t> bound) noexcept {
  const bool decided = !bound || reading.sum <= *bound || reading.largest > *bound;
  if (!reading.available_bytes) return reading.sum;
  const std::uint64_t at_most =
      certain_ns_ ? bytes_ + rise(*reading.available_bytes, available_) : reading.sum;
  const std::uint64_t estimate = std::max(reading.largest, std::min(reading.sum, at_most));
  if (decided) {
    certain_ns_ = reading.mono_ns;
    bytes_ = estimate;
    available_ = *reading.available_bytes;
    return reading.sum;
  }
  // From here on against the same moment: added up from reading to reading, the ups and downs of other
  // programs would become growth.
  const bool too_old = !certain_ns_ || reading.mono_ns - *certain_ns_ > oldest_certainty_ns;
  if (too_old) return reading.sum;
  // What the machine lost may have gone to others. Where much is shared that decides, so the next reading of
  // shares, half a second away at most, gets the word; where little is shared, sum and estimate are close.
  const std::uint64_t doubt = std::min({most_doubt, *bound / 2, reading.sum - estimate});
  return std::max(reading.largest, estimate - std::min(estimate, doubt));
}

DeviceReading read_devices(const GuardSample& sample, std::span<const GuardProcess> tree,
                           const History& history, const Moment& now) noexcept {
  DeviceReading result;
  result.capacity_bytes = 0;
  for (const GuardDevice& device : sample.devices) {
    if (device.total_bytes && result.capacity_bytes) {
      *result.capacity_bytes += *device.total_bytes;
    } else {
      result.capacity_bytes.reset();
    }
    if (device.used_bytes) result.total_bytes = result.total_bytes.value_or(0) + *device.used_bytes;
    if (!device.rows_known) continue;
    std::uint64_t rows = 0;
    std::uint64_t all = 0;
    bool holds = false;
    for (const GuardDeviceRow& row : device.rows) {
      if (row.bytes) all += *row.bytes;
      const auto same = [&](const GuardProcess& process) {
        return process.pid == row.process.pid &&
               (row.process.start_ticks == 0 || row.process.start_ticks == process.start_ticks);
      };
      if (std::find_if(tree.begin(), tree.end(), same) == tree.end()) {
        ++result.outside;
        continue;
      }
      holds = true;
      if (row.bytes) {
        rows += *row.bytes;
      } else {
        ++result.unknown;
      }
    }
    if (!device.used_bytes) result.total_bytes = result.total_bytes.value_or(0) + all;
    // A tree without a row has no context there, so growth is somebody else's.
    if (holds && device.unified) {
      const Moment* then = history.at(device.rows_ns);
      if (then != nullptr && then->available_bytes && now.available_bytes && then->tree_bytes &&
          now.tree_bytes) {
        const std::uint64_t lost = rise(*now.available_bytes, *then->available_bytes);
        const std::uint64_t own = rise(*then->tree_bytes, *now.tree_bytes);
        const std::uint64_t grown = lost > own ? lost - own : 0;
        rows += grown;
        result.estimated = result.estimated || grown > 0;
      }
    } else if (holds && device.used_bytes && device.used_at_rows_bytes) {
      const std::uint64_t grown = rise(*device.used_at_rows_bytes, *device.used_bytes);
      rows += grown;
      result.estimated = result.estimated || grown > 0;
    }
    result.unified = result.unified || device.unified;
    result.tree_bytes = result.tree_bytes.value_or(0) + rows;
  }
  // Unknown rows of our own processes make the sum a guess at best.
  if (result.unknown > 0) result.tree_bytes.reset();
  if (sample.devices.empty()) result.capacity_bytes.reset();
  return result;
}

}  // namespace tetrad::guard

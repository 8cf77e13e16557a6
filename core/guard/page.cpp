#include "guard/page.h"

#include <algorithm>
#include <cstring>
#include <string_view>

namespace tetrad::guard {

namespace {

template <class To>
void put(const std::optional<To>& from, To& value, std::uint8_t& has) noexcept {
  has = from.has_value() ? 1 : 0;
  value = from.value_or(To{});
}

template <class T>
std::optional<T> get(const T& value, std::uint8_t has) noexcept {
  return has != 0 ? std::optional(value) : std::nullopt;
}

std::string text_of(const char* text, std::size_t size) {
  return std::string(text, ::strnlen(text, size));
}

}  // namespace

void store(const GuardSample& sample, const Status& status, std::int64_t begin_ns, std::int64_t end_ns,
           PageSample& to) noexcept {
  to.begin_ns = begin_ns;
  to.end_ns = end_ns;
  to.status = static_cast<std::int32_t>(status.code);
  put_text(to.problem, status.ok() ? std::string_view(sample.problem) : std::string_view(status.message));
  to.device_count = 0;
  to.row_count = 0;
  for (const GuardDevice& device : sample.devices) {
    if (to.device_count == most_devices) break;
    PageDevice& slot = to.devices[to.device_count];
    put_text(slot.uuid, device.uuid);
    put_text(slot.name, device.name);
    put(device.total_bytes, slot.total_bytes, slot.has_total);
    put(device.used_bytes, slot.used_bytes, slot.has_used);
    put(device.used_at_rows_bytes, slot.used_at_rows_bytes, slot.has_used_at_rows);
    slot.rows_ns = device.rows_ns;
    slot.rows_dropped = device.rows_dropped;
    slot.unified = device.unified ? 1 : 0;
    slot.rows_known = device.rows_known ? 1 : 0;
    for (const GuardDeviceRow& row : device.rows) {
      if (to.row_count == most_rows) break;
      PageRow& entry = to.rows[to.row_count++];
      entry.device = to.device_count;
      entry.process = row.process;
      put(row.bytes, entry.bytes, entry.has_bytes);
    }
    ++to.device_count;
  }
  to.share_count = static_cast<std::uint32_t>(std::min(sample.shares.size(), most_members));
  std::copy_n(sample.shares.begin(), to.share_count, to.shares.begin());
  to.shares_ns = sample.shares_ns;
  put(sample.pressure_full_avg10, to.pressure, to.has_pressure);
  put(sample.group_limit_bytes, to.group_limit, to.has_group_limit);
  put(sample.group_used_bytes, to.group_used, to.has_group_used);
  put(sample.group_oom_kills, to.group_oom_kills, to.has_group_oom_kills);
  to.device_lost = sample.device_lost ? 1 : 0;
}

GuardSample load(const PageSample& from) {
  GuardSample sample;
  sample.problem = text_of(from.problem, sizeof from.problem);
  const std::size_t devices = std::min<std::size_t>(from.device_count, most_devices);
  for (std::size_t i = 0; i < devices; ++i) {
    const PageDevice& slot = from.devices[i];
    GuardDevice device;
    device.uuid = text_of(slot.uuid, sizeof slot.uuid);
    device.name = text_of(slot.name, sizeof slot.name);
    device.unified = slot.unified != 0;
    device.total_bytes = get(slot.total_bytes, slot.has_total);
    device.used_bytes = get(slot.used_bytes, slot.has_used);
    device.used_at_rows_bytes = get(slot.used_at_rows_bytes, slot.has_used_at_rows);
    device.rows_ns = slot.rows_ns;
    device.rows_dropped = slot.rows_dropped;
    device.rows_known = slot.rows_known != 0;
    sample.devices.push_back(std::move(device));
  }
  const std::size_t rows = std::min<std::size_t>(from.row_count, most_rows);
  for (std::size_t i = 0; i < rows; ++i) {
    const PageRow& entry = from.rows[i];
    if (entry.device >= devices) continue;
    sample.devices[entry.device].rows.push_back({entry.process, get(entry.bytes, entry.has_bytes)});
  }
  const std::size_t shares = std::min<std::size_t>(from.share_count, most_members);
  sample.shares.assign(from.shares.begin(), from.shares.begin() + static_cast<std::ptrdiff_t>(shares));
  sample.shares_ns = from.shares_ns;
  sample.pressure_full_avg10 = get(from.pressure, from.has_pressure);
  sample.group_limit_bytes = get(from.group_limit, from.has_group_limit);
  sample.group_used_bytes = get(from.group_used, from.has_group_used);
  sample.group_oom_kills = get(from.group_oom_kills, from.has_group_oom_kills);
  sample.device_lost = from.device_lost != 0;
  return sample;
}

}  // namespace tetrad::guard

#include "guard/settings.h"

#include "guard/cgroup.h"
#include "guard/proc.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>

namespace tetrad::guard {

namespace {

constexpr double gib = 1024.0 * 1024.0 * 1024.0;
constexpr double mib = 1024.0 * 1024.0;
constexpr double largest_gb = 1e6;

std::uint64_t bytes_of(double gb, const char* key) {
  if (!std::isfinite(gb) || gb < 0 || gb > largest_gb) {
    throw Error(ExitCode::usage, fmt::format("[guard] {}: {} GiB is outside 0 to {}", key, gb, largest_gb));
  }
  return static_cast<std::uint64_t>(std::llround(gb * gib));
}

}  // namespace

Capacity read_capacity() {
  const MemInfo memory = read_meminfo();
  Capacity capacity;
  capacity.total_bytes = memory.total_bytes;
  capacity.available_bytes = memory.available_bytes;
  if (const auto limit = cgroup_memory_limit(); limit && capacity.total_bytes) {
    capacity.total_bytes = std::min(*capacity.total_bytes, *limit);
  }
  capacity.process_memory_readable = read_process_memory(::getpid()).reading == Reading::value;
  return capacity;
}

LimitSetting parse_limit(const std::string& text, const std::string& option) {
  if (text == "auto") return LimitWord::automatic;
  if (text == "none") return LimitWord::none;
  double number = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc{} && stop == text.data() + text.size()) return number;
  throw Error(ExitCode::usage,
              fmt::format("[guard] {}: '{}' is neither a number of GiB nor auto nor none", option, text));
}

std::uint64_t automatic_soft(std::uint64_t limit_bytes) noexcept {
  constexpr std::uint64_t most = std::uint64_t{4} << 30;
  return limit_bytes - std::min(limit_bytes / 10, most);
}

std::optional<std::uint64_t> device_limit(const Limits& limits, std::uint64_t total_bytes) noexcept {
  if (limits.device_mode == DeviceLimit::automatic) return automatic_limit(total_bytes);
  if (limits.device_mode == DeviceLimit::same && limits.limit_bytes && *limits.limit_bytes < total_bytes)
    return limits.limit_bytes;
  return std::nullopt;
}

std::uint64_t automatic_limit(std::uint64_t total_bytes) noexcept {
  constexpr std::uint64_t large_machine = std::uint64_t{32} << 30;
  constexpr std::uint64_t left_free = std::uint64_t{8} << 30;
  const std::uint64_t share = total_bytes / 10 * 9;
  return total_bytes > large_machine ? std::min(share, total_bytes - left_free) : share;
}

Limits make_limits(const Settings& settings, const Capacity& capacity) {
  Limits limits;
  limits.over_secs = settings.over_secs;
  limits.poll_secs = settings.poll_secs;
  if (!std::isfinite(limits.over_secs) || limits.over_secs < 0) {
    throw Error(ExitCode::usage,
                fmt::format("[guard] over_secs: {} is not a time of 0 s or more", limits.over_secs));
  }
  if (!std::isfinite(limits.poll_secs) || limits.poll_secs < 0.05) {
    throw Error(ExitCode::usage,
                fmt::format("[guard] poll_secs: {} is not a time of 0.05 s or more", limits.poll_secs));
  }
  limits.host_floor_bytes = bytes_of(settings.host_floor_gb, "host_floor_gb");

  const auto* number = std::get_if<double>(&settings.limit_gb);
  const bool wanted = number != nullptr || std::get<LimitWord>(settings.limit_gb) == LimitWord::automatic;
  if (wanted && (!capacity.process_memory_readable || !capacity.total_bytes)) {
    throw Error(ExitCode::guard_blind,
                "[guard] a limit is set, but the memory of processes cannot be read here (no RssAnon in "
                "/proc/<pid>/status "
                "or no /proc/meminfo); mount /proc, or set guard.limit_gb to none to run without a guard");
  }
  if (number != nullptr) {
    limits.limit_bytes = bytes_of(*number, "limit_gb");
    if (*limits.limit_bytes == 0) {
      throw Error(ExitCode::usage,
                  "[guard] limit_gb: 0 leaves no room for any program; give GiB, auto or none");
    }
    if (*limits.limit_bytes > *capacity.total_bytes) {
      throw Error(
          ExitCode::usage,
          fmt::format(
              "[guard] limit_gb: {} is more than the {} that this machine has, so the guard could never "
              "act in time; set a smaller number or auto ({})",
              format_gib(*limits.limit_bytes), format_gib(*capacity.total_bytes),
              format_gib(automatic_limit(*capacity.total_bytes))));
    }
  } else if (wanted) {
    limits.limit_bytes = automatic_limit(*capacity.total_bytes);
  }
  if (wanted) limits.device_mode = number != nullptr ? DeviceLimit::same : DeviceLimit::automatic;
  if (limits.limit_bytes) {
    if (const auto* soft = std::get_if<double>(&settings.soft_gb)) {
      limits.soft_bytes = bytes_of(*soft, "soft_gb");
      if (*limits.soft_bytes >= *limits.limit_bytes) {
        throw Error(
            ExitCode::usage,
            fmt::format("[guard] soft_gb: {} is not below the limit of {}, so it would never be asked "
                        "for; set a smaller number, auto or none",
                        format_gib(*limits.soft_bytes), format_gib(*limits.limit_bytes)));
      }
    } else if (std::get<LimitWord>(settings.soft_gb) == LimitWord::automatic) {
      limits.soft_bytes = automatic_soft(*limits.limit_bytes);
    }
  }
  if (capacity.available_bytes && *capacity.available_bytes < limits.host_floor_bytes) {
    throw Error(
        fmt::format("[guard] only {} are available on this machine, less than the floor of {}: nothing was "
                    "started; end other programs or lower guard.host_floor_gb",
                    format_mib(*capacity.available_bytes), format_mib(limits.host_floor_bytes)));
  }
  return limits;
}

std::string format_gib(std::uint64_t bytes) {
  const double value = std::round(static_cast<double>(bytes) / gib * 100) / 100;
  return fmt::format("{} GiB", value);
}

std::string format_mib(std::uint64_t bytes) {
  return fmt::format("{} MiB", std::llround(static_cast<double>(bytes) / mib));
}

std::string format_or_unknown(std::optional<std::uint64_t> bytes) {
  return bytes ? format_mib(*bytes) : "unknown";
}

std::string describe(const Limits& limits, const Capacity& capacity, const std::string& sensors) {
  if (limits.limit_bytes) {
    return fmt::format("[guard] limit={} ({}) over={} s poll={} s sensors={}",
                       format_gib(*limits.limit_bytes), format_mib(*limits.limit_bytes), limits.over_secs,
                       limits.poll_secs, sensors);
  }
  if (limits.host_floor_bytes == 0) return "[guard] no limit set: nothing is watched; set guard.limit_gb";
  if (!capacity.available_bytes) {
    return "[guard] no limit set: and the available memory is unknown here, so nothing is watched";
  }
  return fmt::format(
      "[guard] no limit set: only the floor of {} available memory is watched; set guard.limit_gb",
      format_mib(limits.host_floor_bytes));
}

}  // namespace tetrad::guard

// From what the user writes to Limits: `limit_gb` is a number of GiB (1,024^3 bytes, the word "gb" is kept
// for its age), "auto" or "none". auto is 90 % of what this machine (or the container's memory limit, where
// that is smaller) has, and leaves at least 8 GiB on machines over 32 GiB. Texts for people say GiB, and MiB
// beside them.
#pragma once

#include "guard/policy.h"

#include <cstdint>
#include <optional>
#include <string>
#include <variant>

namespace tetrad::guard {

enum class LimitWord { none, automatic };
using LimitSetting = std::variant<LimitWord, double>;

struct Settings {
  LimitSetting limit_gb = LimitWord::none;
  LimitSetting soft_gb = LimitWord::none;
  double over_secs = 0;
  double poll_secs = 0.5;
  double host_floor_gb = 0.5;
  bool allow_blind = true;  // false: a sensor that was asked for and cannot observe refuses the run
};

// "auto", "none" or a number of GiB. Throws Error(usage) that names `option`.
LimitSetting parse_limit(const std::string& text, const std::string& option);

// What the machine offers, before the run starts.
struct Capacity {
  std::optional<std::uint64_t> total_bytes;      // min(MemTotal, memory limit of our cgroup)
  std::optional<std::uint64_t> available_bytes;  // MemAvailable
  bool process_memory_readable = false;          // RssAnon and RssShmem of a process can be read
};
Capacity read_capacity();

// 90 % of total_bytes, at least 8 GiB left where total_bytes is over 32 GiB.
std::uint64_t automatic_limit(std::uint64_t total_bytes) noexcept;

// Where the soft stage begins with `auto`: a tenth of the limit below it, at most 4 GiB.
std::uint64_t automatic_soft(std::uint64_t limit_bytes) noexcept;

// The limit for devices with memory of their own, `total_bytes` together. auto: as for the host. A number
// that the devices do not have: none, they refuse by themselves.
std::optional<std::uint64_t> device_limit(const Limits& limits, std::uint64_t total_bytes) noexcept;

// Throws Error(usage) for a number that is not positive and finite, and for a limit over the capacity;
// Error(guard_blind) when a limit is asked for and cannot be observed here; Error(runtime) when less memory
// than the floor is available already.
Limits make_limits(const Settings& settings, const Capacity& capacity);

std::string format_gib(std::uint64_t bytes);                        // "2 GiB", "1.46 GiB", "0.07 GiB"
std::string format_mib(std::uint64_t bytes);                        // "2048 MiB", rounded
std::string format_or_unknown(std::optional<std::uint64_t> bytes);  // "2048 MiB" or "unknown"

// The first line of a guarded run, without newline: "[guard] limit=2 GiB (2048 MiB) over=0 s poll=0.5 s
// sensors=guard-host" (`sensors`: all of them, with commas), or in one line that no limit is set and what is
// watched nevertheless.
std::string describe(const Limits& limits, const Capacity& capacity,
                     const std::string& sensors = "guard-host");

}  // namespace tetrad::guard

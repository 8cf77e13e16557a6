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

struct Settings {
  std::variant<LimitWord, double> limit_gb = LimitWord::none;
  double over_secs = 0;
  double poll_secs = 0.5;
  double host_floor_gb = 0.5;
};

// What the machine offers, before the run starts.
struct Capacity {
  std::optional<std::uint64_t> total_bytes;      // min(MemTotal, memory limit of our cgroup)
  std::optional<std::uint64_t> available_bytes;  // MemAvailable
  bool process_memory_readable = false;          // RssAnon and RssShmem of a process can be read
};
Capacity read_capacity();

// 90 % of total_bytes, at least 8 GiB left where total_bytes is over 32 GiB.
std::uint64_t automatic_limit(std::uint64_t total_bytes) noexcept;

// Throws Error(usage) for a number that is not positive and finite, and for a limit over the capacity;
// Error(guard_blind) when a limit is asked for and cannot be observed here; Error(runtime) when less memory
// than the floor is available already.
Limits make_limits(const Settings& settings, const Capacity& capacity);

std::string format_gib(std::uint64_t bytes);                        // "2 GiB", "1.46 GiB", "0.07 GiB"
std::string format_mib(std::uint64_t bytes);                        // "2048 MiB", rounded
std::string format_or_unknown(std::optional<std::uint64_t> bytes);  // "2048 MiB" or "unknown"

// The first line of a guarded run, without newline: "[guard] limit=2 GiB (2048 MiB) over=0 s poll=0.5 s
// sensors=guard-host", or in one line that no limit is set and what is watched nevertheless.
std::string describe(const Limits& limits, const Capacity& capacity);

}  // namespace tetrad::guard

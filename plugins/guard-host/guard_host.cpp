#include "guard_host.h"

#include <time.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iterator>
#include <string>

namespace tetrad::guard_host {

namespace {

constexpr std::int64_t shares_every_ns = 500'000'000;

std::int64_t now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}

std::string read_text(const std::filesystem::path& file) {
  std::ifstream in(file);
  return {std::istreambuf_iterator<char>(in), {}};
}

template <class F>
void for_each_line(std::string_view text, F&& use) {
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    use(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

// "Pss_Anon:            116 kB"
std::optional<std::uint64_t> kib_field(std::string_view text, std::string_view name) {
  std::optional<std::uint64_t> bytes;
  for_each_line(text, [&](std::string_view line) {
    if (!line.starts_with(name) || line.size() <= name.size() || line[name.size()] != ':') return;
    line.remove_prefix(name.size() + 1);
    while (!line.empty() && line.front() == ' ') line.remove_prefix(1);
    std::uint64_t kib = 0;
    const auto [stop, error] = std::from_chars(line.data(), line.data() + line.size(), kib);
    if (error == std::errc{} &&
        std::string_view(stop, static_cast<std::size_t>(line.data() + line.size() - stop)) == " kB")
      bytes = kib << 10;
  });
  return bytes;
}

std::optional<std::uint64_t> number_in(const std::filesystem::path& file) {
  const std::string text = read_text(file);
  std::uint64_t value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && stop != text.data() ? std::optional(value) : std::nullopt;
}

std::optional<std::uint64_t> start_ticks(const std::filesystem::path& stat) {
  const std::string text = read_text(stat);
  std::size_t at = text.rfind(')');
  if (at == std::string::npos) return std::nullopt;
  for (int field = 2; field < 22 && at != std::string::npos; ++field) at = text.find(' ', at + 1);
  if (at == std::string::npos) return std::nullopt;
  std::uint64_t ticks = 0;
  const auto [stop, error] = std::from_chars(text.data() + at + 1, text.data() + text.size(), ticks);
  return error == std::errc{} ? std::optional(ticks) : std::nullopt;
}

}  // namespace

std::optional<std::uint64_t> parse_smaps_rollup(std::string_view text) {
  const auto anonymous = kib_field(text, "Pss_Anon");
  const auto shared = kib_field(text, "Pss_Shmem");
  if (!anonymous || !shared) return std::nullopt;
  return *anonymous + *shared;
}

std::optional<double> parse_pressure(std::string_view text) {
  std::optional<double> result;
  for_each_line(text, [&](std::string_view line) {
    constexpr std::string_view key = "full avg10=";
    if (!line.starts_with(key)) return;
    line.remove_prefix(key.size());
    double value = 0;
    const auto [stop, error] = std::from_chars(line.data(), line.data() + line.size(), value);
    if (error == std::errc{}) result = value;
  });
  return result;
}

GuardHost::GuardHost(std::filesystem::path proc, std::filesystem::path groups) : proc_(std::move(proc)) {
  // Our group of the unified hierarchy, where it holds the memory controller.
  for_each_line(read_text(proc_ / "self/cgroup"), [&](std::string_view line) {
    if (!line.starts_with("0::/")) return;
    const std::filesystem::path own = groups / std::filesystem::path(line.substr(4));
    if (std::filesystem::exists(own / "memory.current")) {
      group_ = own;
    } else if (std::filesystem::exists(groups / "memory.current")) {
      group_ = groups;  // inside a container the mount itself is ours
    }
  });
}

Status GuardHost::probe(std::string& evidence) noexcept {
  return guarded([&] {
    const bool shares = parse_smaps_rollup(read_text(proc_ / "self/smaps_rollup")).has_value();
    const bool pressure = parse_pressure(read_text(proc_ / "pressure/memory")).has_value();
    evidence = std::string("shared pages ") +
               (shares ? "count once" : "count for each process (no smaps_rollup)") + ", memory pressure " +
               (pressure ? "known" : "unknown") + ", control group " +
               (group_.empty() ? "without a memory controller" : group_.string());
  });
}

void GuardHost::read_shares(const GuardRequest& request) {
  const std::int64_t begin = now_ns();
  if (!request.want_shares || begin - tried_ns_ < shares_every_ns) return;
  tried_ns_ = begin;
  shares_.clear();
  for (const GuardProcess& process : request.tree) {
    const std::filesystem::path folder = proc_ / std::to_string(process.pid);
    const auto ticks = start_ticks(folder / "stat");
    // One that has ended meanwhile has nothing, also where its number is another's now.
    if (!ticks || (process.start_ticks != 0 && *ticks != process.start_ticks)) continue;
    const auto shares = parse_smaps_rollup(read_text(folder / "smaps_rollup"));
    if (!shares) {
      // Of a living one that may not be read nothing is known, and then the whole sum is not.
      if (read_text(folder / "status").find("\nVm") == std::string::npos) continue;
      shares_.clear();
      return;
    }
    shares_.push_back({process, *shares});
  }
  shares_ns_ = begin;
}

void GuardHost::read_group(GuardSample& sample) const {
  if (group_.empty()) return;
  sample.group_limit_bytes = number_in(group_ / "memory.max");
  sample.group_used_bytes = number_in(group_ / "memory.current");
  for_each_line(read_text(group_ / "memory.events"), [&](std::string_view line) {
    constexpr std::string_view key = "oom_kill ";
    if (!line.starts_with(key)) return;
    line.remove_prefix(key.size());
    std::uint64_t kills = 0;
    if (std::from_chars(line.data(), line.data() + line.size(), kills).ec == std::errc{})
      sample.group_oom_kills = kills;
  });
}

Status GuardHost::sample(const GuardRequest& request, GuardSample& sample) noexcept {
  return guarded([&] {
    read_shares(request);
    sample.shares = shares_;  // in every sample until newer ones are read: the host may miss one
    sample.shares_ns = shares_ns_;
    sample.pressure_full_avg10 = parse_pressure(read_text(proc_ / "pressure/memory"));
    read_group(sample);
  });
}

}  // namespace tetrad::guard_host

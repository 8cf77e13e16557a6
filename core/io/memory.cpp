#include "io/memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <sstream>
#include <utility>

namespace tetrad::io {
namespace {

// The value of a line "Name:   123 kB" in bytes.
std::optional<std::uint64_t> field(std::string_view text, std::string_view name) {
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line = text.substr(at, end - at);
    at = end + 1;
    if (!line.starts_with(name) || line.size() <= name.size() || line[name.size()] != ':') continue;
    line.remove_prefix(name.size() + 1);
    line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
    std::uint64_t kib = 0;
    const auto [rest, error] = std::from_chars(line.data(), line.data() + line.size(), kib);
    if (error != std::errc() || std::string_view(rest, line.data() + line.size()) != " kB")
      return std::nullopt;
    return kib * 1024;
  }
  return std::nullopt;
}

std::string read_text(const std::string& file) {
  std::ifstream in(file);
  std::ostringstream text;
  text << in.rdbuf();
  return std::move(text).str();
}

}  // namespace

std::optional<HostMemory> parse_host_memory(std::string_view status) {
  const auto anon = field(status, "RssAnon");
  const auto shmem = field(status, "RssShmem");
  const auto file = field(status, "RssFile");
  const auto peak = field(status, "VmHWM");
  if (!anon || !shmem || !file || !peak) return std::nullopt;
  return HostMemory{*anon, *shmem, *file, field(status, "VmSwap").value_or(0), *peak};
}

std::optional<HostMemory> host_memory(pid_t pid) {
  return parse_host_memory(read_text(pid == 0 ? "/proc/self/status" : fmt::format("/proc/{}/status", pid)));
}

std::optional<SystemMemory> system_memory() {
  const std::string text = read_text("/proc/meminfo");
  const auto total = field(text, "MemTotal");
  const auto available = field(text, "MemAvailable");
  if (!total || !available) return std::nullopt;
  return SystemMemory{*total, *available};
}

std::string format_gib(std::uint64_t bytes) {
  const double gib = static_cast<double>(bytes) / (1024.0 * 1024.0 * 1024.0);
  const int decimals = gib >= 99.95 ? 0 : gib >= 9.995 ? 1 : gib >= 0.9995 ? 2 : 3;
  return fmt::format("{:.{}f} GiB", gib, decimals);
}

}  // namespace tetrad::io

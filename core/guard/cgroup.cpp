#include "guard/cgroup.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iterator>

namespace tetrad::guard {

namespace {

std::optional<std::uint64_t> read_limit(const std::filesystem::path& file) {
  std::ifstream in(file);
  std::string word;
  if (!(in >> word) || word == "max") return std::nullopt;
  std::uint64_t bytes = 0;
  const auto [stop, error] = std::from_chars(word.data(), word.data() + word.size(), bytes);
  if (error != std::errc{} || stop != word.data() + word.size()) return std::nullopt;
  constexpr std::uint64_t no_limit = std::uint64_t{1} << 60;  // v1 writes a huge number for "none"
  return bytes < no_limit ? std::optional(bytes) : std::nullopt;
}

bool lists_memory(std::string_view controllers) {
  while (!controllers.empty()) {
    const std::size_t end = std::min(controllers.find(','), controllers.size());
    if (controllers.substr(0, end) == "memory") return true;
    controllers.remove_prefix(std::min(end + 1, controllers.size()));
  }
  return false;
}

}  // namespace

std::optional<CgroupPath> parse_cgroup(std::string_view text) {
  std::optional<CgroupPath> found;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string_view::npos ? first : line.find(':', first + 1);
    if (second == std::string_view::npos) continue;
    const std::string_view controllers = line.substr(first + 1, second - first - 1);
    const std::string_view path = line.substr(second + 1);
    if (path.empty() || path.front() != '/') continue;
    if (lists_memory(controllers)) return CgroupPath{std::string(path), false};
    if (controllers.empty() && line.substr(0, first) == "0") found = CgroupPath{std::string(path), true};
  }
  return found;
}

std::optional<std::uint64_t> cgroup_memory_limit(const std::filesystem::path& root, std::string_view self) {
  const auto group = parse_cgroup(self);
  if (!group) return std::nullopt;
  const std::filesystem::path mount = group->unified ? root : root / "memory";
  const char* file = group->unified ? "memory.max" : "memory.limit_in_bytes";
  std::optional<std::uint64_t> smallest;
  const auto take = [&](const std::filesystem::path& directory) {
    const auto limit = read_limit(directory / file);
    if (limit) smallest = std::min(smallest.value_or(*limit), *limit);
  };
  take(mount);  // inside a container the path may name groups that are not mounted; the mount itself is ours
  std::filesystem::path at = std::filesystem::path(group->path).relative_path();
  while (!at.empty()) {
    take(mount / at);
    at = at.parent_path();
  }
  return smallest;
}

std::optional<std::uint64_t> cgroup_memory_limit() {
  std::ifstream in("/proc/self/cgroup");
  const std::string self((std::istreambuf_iterator<char>(in)), {});
  return cgroup_memory_limit("/sys/fs/cgroup", self);
}

}  // namespace tetrad::guard

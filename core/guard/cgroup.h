// The memory limit that a container or service manager puts on us, out of the cgroup files (v2 and v1). The
// smallest limit on the way from our group to the root counts. Nothing where there is none or where it cannot
// be read.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace tetrad::guard {

// Path of our group for the memory controller, out of the text of /proc/self/cgroup: {path, v2?}.
struct CgroupPath {
  std::string path;  // starts with '/'
  bool unified = false;
};
std::optional<CgroupPath> parse_cgroup(std::string_view text);

// `root`: where the cgroup file systems are mounted; `self`: the text of /proc/self/cgroup.
std::optional<std::uint64_t> cgroup_memory_limit(const std::filesystem::path& root, std::string_view self);
std::optional<std::uint64_t> cgroup_memory_limit();

}  // namespace tetrad::guard

// What the kernel says about this machine: system, processor, memory. Unknown values are null, never 0. JSON
// sizes are bytes.
#pragma once

#include <nlohmann/json.hpp>

#include <string>
#include <string_view>

namespace tetrad::cli {

// {"os", "kernel", "architecture", "cpu": {"model", "cores", "features": [...]}, "memory": {"total_bytes",
//  "available_bytes", "cgroup_limit_bytes"}}
nlohmann::json machine_facts();

// The parts of /proc/cpuinfo that matter here, of x86-64 ("flags") and of aarch64 ("Features"): {"model",
// "features"}.
nlohmann::json parse_cpuinfo(std::string_view text);

// PRETTY_NAME of an os-release file; "" when absent.
std::string parse_os_name(std::string_view os_release);

}  // namespace tetrad::cli

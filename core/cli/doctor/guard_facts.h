// What the memory guard can do on this machine: its sensors, and whether it may lock its pages, raise its
// priority and make a control group. Tried out in this process, which ends soon after.
#pragma once

#include "cli/supervise/supervisor.h"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <vector>

namespace tetrad::cli {

// {"auto_limit_bytes", "sensors": [{"id", "evidence", "problem"}], "control_group": path or null,
//  "control_group_problem", "locked", "prioritised", "spared_by_oom", "refused": [texts]}. Sensors that have
//  not
// answered at the deadline (CLOCK_MONOTONIC, ns) have that as their problem.
nlohmann::json guard_facts(const std::vector<SensorChoice>& sensors, std::int64_t deadline_ns);

}  // namespace tetrad::cli

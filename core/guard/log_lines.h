// The lines of a guarded run's log (sample_log.h): JSON objects whose "event" says what they are, with
// "mono_ms", CLOCK_MONOTONIC in milliseconds. What was not observed is null, never 0.
//   start   the limits in force, guard and program, sensors, the wall clock's time beside mono_ms
//   sample  a reading: tree, device and available bytes, growth, what each sensor last said and how old that
//           is, the decision, when the next reading is wanted
//   others  what happened: "soft", "kill", "note" ..., with their own keys
#pragma once

#include "guard/guard.h"

#include <nlohmann/json.hpp>

#include <string>

namespace tetrad::guard {

std::string start_line(const Guard& guard, pid_t child, const std::string& command);
std::string sample_line(const Guard& guard);
// `more`: an object whose keys are added.
std::string event_line(const char* event, nlohmann::json more);

}  // namespace tetrad::guard

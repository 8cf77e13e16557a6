// Runs a case in a child process of this one, so that a plugin that crashes, hangs, exits or prints takes
// nothing else with it. The child is forked: call this only while this process has not yet used libtorch's
// thread pool or a device, which do not survive a fork.
#pragma once

#include "check/case.h"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>

namespace tetrad::check {

enum class Verdict : std::uint8_t { pass, fail, crash, hang, skip };

const char* verdict_name(Verdict verdict) noexcept;

struct Outcome {
  Verdict verdict = Verdict::fail;
  std::string detail;
  nlohmann::json figures = nlohmann::json::object();
  double seconds = 0.0;
  std::string log;  // the last lines that the case wrote to stderr: the plugin's log

  bool good() const noexcept { return verdict == Verdict::pass || verdict == Verdict::skip; }
};

// Waits at most `deadline_secs` for each process of the case. Throws Error where no process can be made.
Outcome run_isolated(const Case& each, double deadline_secs);

}  // namespace tetrad::check

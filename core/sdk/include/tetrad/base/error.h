// The one exception type of Tetrad. A message says what happened, where, and what to do about it, in the form
// "[tag] what, with values; remedy". The exit code is the one that the process ends with when nobody handles
// it; the list is part of the user surface (docs/exit-codes in README) and never renumbered. Exceptions never
// cross the plugin line: see status.h.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

namespace tetrad {

enum class ExitCode : int {
  ok = 0,
  runtime = 1,         // something failed while running (I/O, out of memory, device error)
  usage = 2,           // command line or config is wrong; nothing was started
  plugin_refused = 3,  // a plugin was found but cannot be used here
  numerics = 4,        // a non-finite value or a collapsed generation
  guard_killed = 124,  // the guard ended the run: a memory limit was passed
  guard_blind = 125,   // the guard cannot observe memory and the config forbids running blind
};

// Stable identifier of an exit code for JSON records, e.g. "plugin_refused".
const char* exit_code_name(ExitCode code) noexcept;

class Error : public std::runtime_error {
 public:
  Error(ExitCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  // A runtime failure (exit code 1).
  explicit Error(const std::string& message) : Error(ExitCode::runtime, message) {}

  ExitCode code() const noexcept { return code_; }

 private:
  ExitCode code_;
};

}  // namespace tetrad

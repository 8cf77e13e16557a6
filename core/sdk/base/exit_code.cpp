#include <tetrad/base/error.h>

namespace tetrad {

const char* exit_code_name(ExitCode code) noexcept {
  switch (code) {
    case ExitCode::ok:
      return "ok";
    case ExitCode::runtime:
      return "runtime";
    case ExitCode::usage:
      return "usage";
    case ExitCode::plugin_refused:
      return "plugin_refused";
    case ExitCode::numerics:
      return "numerics";
    case ExitCode::guard_killed:
      return "guard_killed";
    case ExitCode::guard_blind:
      return "guard_blind";
  }
  return "unknown";
}

}  // namespace tetrad

// Which exit code a plugin's failed Status stands for, for everybody who turns one into an Error.
#pragma once

#include <tetrad/base/error.h>
#include <tetrad/base/status.h>

namespace tetrad::plugin {

// invalid_option -> usage, unsupported -> plugin_refused, numerics -> numerics, the rest -> runtime.
constexpr ExitCode exit_code(StatusCode code) noexcept {
  switch (code) {
    case StatusCode::ok:
      return ExitCode::ok;
    case StatusCode::invalid_option:
      return ExitCode::usage;
    case StatusCode::unsupported:
      return ExitCode::plugin_refused;
    case StatusCode::numerics:
      return ExitCode::numerics;
    case StatusCode::out_of_memory:
    case StatusCode::device_error:
    case StatusCode::internal:
      break;
  }
  return ExitCode::runtime;
}

}  // namespace tetrad::plugin

// The host's side of the plugin line: a failed Status becomes an Error that names the plugin and the call.
#pragma once

#include <tetrad/base/error.h>
#include <tetrad/base/status.h>

#include <string>
#include <string_view>

namespace tetrad::model {

// Throws when status is not ok. numerics -> exit 4, everything else -> exit 1. `what` names the call and its object, e.g.
// "forward of model.layers.3.mlp.up_proj.weight".
inline void check(const Status& status, std::string_view plugin, std::string_view what) {
  if (status.ok()) return;
  const ExitCode code = status.code == StatusCode::numerics         ? ExitCode::numerics
                        : status.code == StatusCode::invalid_option ? ExitCode::usage
                        : status.code == StatusCode::unsupported    ? ExitCode::plugin_refused
                                                                    : ExitCode::runtime;
  throw Error(code, "[" + std::string(plugin) + "] " + std::string(what) + ": " + status.message);
}

}  // namespace tetrad::model

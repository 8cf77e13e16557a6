// The host's side of the plugin line: a failed Status becomes an Error that names the plugin and the call.
#pragma once

#include "plugin/status_exit_code.h"

#include <tetrad/base/error.h>
#include <tetrad/base/status.h>

#include <string>
#include <string_view>

namespace tetrad::model {

// Throws when status is not ok, with the exit code of plugin::exit_code(). `what` names the call and its
// object, e.g. "forward of model.layers.3.mlp.up_proj.weight".
inline void check(const Status& status, std::string_view id, std::string_view what) {
  if (status.ok()) return;
  throw Error(plugin::exit_code(status.code),
              "[" + std::string(id) + "] " + std::string(what) + ": " + status.message);
}

}  // namespace tetrad::model

// Option schemas of plugins: from the JSON in a plugin's metadata to fields, and from a resolved config's
// options back to what a plugin reads. The JSON is a list, one object per option:
//   {"key": "eval_cache", "type": "bool|int|number|string|enum", "default": true, "min": 0, "max": 8,
//    "values": ["a", "b"], "doc": "..."}
// `min`/`max` (inclusive) are for int and number, `values` for enum; an option without `default` must be set
// by the user. A renamed option stays readable with {"key": "old", "type": ..., "deprecated_by": "new"}: its
// value is taken for `new`, with a warning.
#pragma once

#include <tetrad/base/options.h>

#include "config/schema.h"

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace tetrad::config {

// Throws Error(plugin_refused) naming the plugin, the option and the field when the list is not of that form,
// a default lies outside its own range, or a key stands twice: the plugin's metadata is wrong, not the user's
// config.
OptionSchema option_schema_from_json(std::string kind, std::string id, const nlohmann::json& options);

// The options map of a resolved config's JSON ("linear": {"options": {...}}) as a plugin reads it.
// Throws Error(usage) for anything but booleans, integers, numbers and texts: no resolved config holds such.
Options options_from_json(const nlohmann::json& options);

}  // namespace tetrad::config

// Options of a plugin from the command line (`--option key=value`), checked by the same schema, and read by
// the same rules, as in a config.
#pragma once

#include "plugin/metadata.h"

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

namespace tetrad::cli {

// The complete options of each kind: {"linear": {"eval_cache": true, ...}}. An argument goes to every kind
// that has the key. Throws Error(usage) with all that is wrong: unknown keys with the nearest one, wrong
// types, values out of range, options that must be given.
nlohmann::json read_option_arguments(const plugin::Metadata& plugin,
                                     const std::vector<std::string>& arguments);

}  // namespace tetrad::cli

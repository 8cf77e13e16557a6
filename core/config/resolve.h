// The one-call form of compose() + validate(): files and --set arguments in, a checked config out.
#pragma once

#include "config/compose.h"
#include "config/validate.h"

#include <functional>
#include <optional>
#include <span>
#include <string>

namespace tetrad::config {

// The option schema of a plugin; nullopt when it cannot be told here (its options then stay unchecked).
// Throws Error, typically plugin_refused, when the plugin does not exist or is refused: that becomes one of
// the config's errors, at the place where the plugin is named.
using OptionLookup =
    std::function<std::optional<OptionSchema>(const std::string& kind, const std::string& id)>;

// Throws ConfigError with every error of both stages. An empty `lookup` checks the core schema only.
Resolved resolve(std::span<const std::string> files, std::span<const std::string> sets,
                 const OptionLookup& lookup, const Surroundings& surroundings = {});

}  // namespace tetrad::config

// ${env:NAME} and ${env:NAME:-default} in config values: the one kind of substitution there is. `$${` stands
// for a literal `${`. A value with a variable in it is text until the schema types it, so `limit_gb:
// ${env:LIMIT:-8}` works.
#pragma once

#include "config/diagnostics.h"
#include "config/tree.h"

#include <functional>
#include <optional>
#include <string>

namespace tetrad::config {

// The value of an environment variable; nullopt when it is not set.
using EnvironmentLookup = std::function<std::optional<std::string>(const std::string& name)>;

EnvironmentLookup process_environment();

// `node` with every reference in its text values replaced. Errors (an unset variable without a default,
// another kind of reference, a value that is not UTF-8) are reported at the value, which becomes
// Kind::invalid.
Node substitute_environment(const Node& node, const EnvironmentLookup& lookup, Diagnostics& diagnostics);

// The inverse for literal text: "${" -> "$${".
std::string escape_references(std::string text);

}  // namespace tetrad::config

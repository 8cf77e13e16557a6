// --set path=value arguments (internal to the config room). The value is typed by the schema, not guessed:
// where the schema says text, it is taken as it stands (quotes around the whole of it are stripped, YAML's
// way); elsewhere it is read as a YAML flow value: 8, true, [a, b], {eval_cache: true}.
#pragma once

#include "config/diagnostics.h"
#include "config/tree.h"

#include <span>
#include <string>

namespace tetrad::config {

// One tree for all arguments, the later ones winning. Text values are Node::untyped; values of sections are
// maps. Unknown paths are kept: the validation reports them with the nearest key.
Node read_set_arguments(std::span<const std::string> arguments, Diagnostics& diagnostics);

// The text of an untyped --set value with its enclosing quotes taken away, if it is one quoted YAML scalar as
// a whole; else the text as it stands. Values with environment variables in them keep their quotes.
std::string unquoted_argument(const Node& node);

// Whether that is so.
bool is_quoted_argument(const Node& node);

}  // namespace tetrad::config

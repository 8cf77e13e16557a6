// Parses the supported subset of Jinja. A statement, filter, test, function or method that is not in it is an
// Error with the line, when the template is loaded: never a guess while rendering.
#pragma once

#include "text/jinja/ast.h"

#include <string>
#include <string_view>

namespace tetrad::text::jinja {

Body parse(std::string_view source, const std::string& name);

}  // namespace tetrad::text::jinja

// Operators of expressions, with Python's results on the types that templates have. Error where Python raises
// one, and where the result would leave 64-bit integers or the text limit.
#pragma once

#include "text/jinja/value.h"

#include <string>

namespace tetrad::text::jinja {

Value unary(const std::string& op, const Value& value);                      // - + not
Value binary(const std::string& op, const Value& left, const Value& right);  // + - * / // % ** ~
bool compare(const std::string& op, const Value& left, const Value& right);  // == != < <= > >= in, "not in"

}  // namespace tetrad::text::jinja

// Plain (unquoted) YAML scalars by our rules: a subset of YAML 1.2's core schema in which nothing is guessed.
// `true` and `false` are booleans, `null` is null, decimal numbers are numbers; `no`, `on`, `True` are text
// (YAML 1.1 took them for booleans), and spellings that readers of YAML disagree about (010, 0x10, 1_000,
// .inf) are errors.
#pragma once

#include "config/tree.h"

#include <string>
#include <string_view>

namespace tetrad::config {

// The node of a plain scalar. When the text is one of the refused spellings, the result is Kind::invalid and
// `problem` says what is wrong and what to write instead; else `problem` is left empty.
Node plain_scalar(std::string_view text, const Origin& origin, std::string& problem);

// The shortest decimal text that reads back as the same double and is not an integer's ("1.0", "1e-05",
// "0.1").
std::string number_text(double value);

// True for what YAML 1.1 or habit takes for a boolean: yes, No, on, OFF, y, True...
bool looks_boolean(std::string_view text);

// The first byte offset that is not well-formed UTF-8 (no surrogates, no overlong forms); npos when all is
// well.
std::size_t invalid_utf8_offset(std::string_view text);

// `text` in single quotes, control characters escaped, cut after about 60 characters: for messages.
std::string quoted_for_message(std::string_view text);

std::string_view trimmed(std::string_view text);

}  // namespace tetrad::config

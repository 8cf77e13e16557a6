// Text on a terminal: how many columns it takes, padding, cutting and wrapping it so that columns line up
// when East Asian characters take two. Contract: whatever a model said or a file held, the result holds no
// control characters and no marks that turn the direction of writing; lines never exceed the width, unless a
// single character does.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace tetrad::parity {

// Valid UTF-8 that a terminal only prints: line breaks become "↵", tabs "→", other control characters their
// symbols, direction marks and invisible characters <U+202E>.
std::string shown(std::string_view text);

// Columns of shown() text.
int columns_of(std::string_view text);

enum class Align { left, right };
std::string padded(std::string_view text, int columns, Align align = Align::left);

// At most `columns`, the rest as "…".
std::string cut(std::string_view text, int columns);

// Breaks at spaces, and between wide characters (not before closing punctuation).
std::vector<std::string> wrapped(std::string_view text, int columns);

}  // namespace tetrad::parity

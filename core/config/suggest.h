// "Did you mean ...?": the candidate nearest to a misspelt word.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace tetrad::config {

// Edits (insert, delete, replace, swap of neighbours) between two words; upper and lower case, '-' and '_'
// count as equal. Words longer than 64 bytes are compared by their first 64.
std::size_t edit_distance(std::string_view a, std::string_view b);

// The nearest candidate, when it is near enough to be a misspelling: at most a third of the word's length in
// edits.
std::optional<std::string> nearest(std::string_view word, std::span<const std::string> candidates);

// "; did you mean 'x'?" or "".
std::string did_you_mean(std::string_view word, std::span<const std::string> candidates);

}  // namespace tetrad::config

// The texts of a report, in English and Traditional Chinese side by side (words.cpp). Layout and figures are
// the same in both. A text may hold {} places, filled with fmt in the order given there.
#pragma once

#include "runs/words.h"

#include <fmt/format.h>

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

namespace tetrad::parity {

using runs::Language;

// Throws std::out_of_range for a key that the table does not have: a defect here, not of any input.
std::string_view word(Language language, std::string_view key);
// `key` itself where the table does not have it: for names that come from a file.
std::string word_or(Language language, std::string_view prefix, std::string_view key);

template <class... Args>
std::string say(Language language, std::string_view key, const Args&... args) {
  return fmt::format(fmt::runtime(word(language, key)), args...);
}

// The table, for tests: number of texts, and the i-th in each language.
std::size_t word_count();
std::string_view word_key(std::size_t i);

}  // namespace tetrad::parity

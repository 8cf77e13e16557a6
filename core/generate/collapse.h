// Notices a generation that has collapsed: the same token, or the same cycle of up to 8 tokens, over and
// over. A wrongly decoded scale shows itself this way ("!!!!") long before anybody reads the text.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace tetrad::generate {

struct Collapse {
  std::int64_t period = 0;   // 1..8
  std::int64_t repeats = 0;  // whole periods at the end of the output
};

inline constexpr std::int64_t collapse_max_period = 8;
// A run must cover this many tokens and this many periods: prose repeats a word, a list its bullets; a
// collapsed model repeats without end.
inline constexpr std::int64_t collapse_min_tokens = 24;
inline constexpr std::int64_t collapse_min_repeats = 6;

// Looks at the end of `output`, the generated tokens alone.
std::optional<Collapse> find_collapse(std::span<const std::int32_t> output);

std::string describe(const Collapse& collapse);

}  // namespace tetrad::generate

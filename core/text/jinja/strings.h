// Python's string operations on UTF-8 that filters and methods share. Offsets never split a character,
// because every operand is valid UTF-8.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tetrad::text::jinja {

// str.strip(): white space, or the characters of `chars`.
std::string strip(std::string_view text, const std::optional<std::string>& chars, bool left, bool right);
// str.split(): at runs of white space, or at `separator`; at most `limit` times unless negative.
std::vector<std::string> split(std::string_view text, const std::optional<std::string>& separator,
                               std::int64_t limit);
std::string replace(std::string_view text, std::string_view old, std::string_view fresh);
// ASCII only: Error for other letters, whose case rules are not here.
std::string lower(std::string_view text);
std::string upper(std::string_view text);

}  // namespace tetrad::text::jinja

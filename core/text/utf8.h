// UTF-8 at the byte level: validation, decoding one character at a time, and the lossy form for display.
// "Valid" is Unicode's definition (no surrogates, no overlong forms, at most U+10FFFF). Everything here is a
// pure function.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace tetrad::text {

enum class Utf8Status {
  valid,
  invalid,     // no continuation could make these bytes valid
  incomplete,  // the text ends inside a character that is valid so far
};

struct Utf8Char {
  char32_t code_point = 0;  // U+FFFD unless valid
  std::size_t length = 0;   // bytes; of a bad sequence its longest prefix that could have been valid (>= 1)
  Utf8Status status = Utf8Status::invalid;
};

// The character that starts at byte `at` (at < text.size()).
Utf8Char decode_utf8(std::string_view text, std::size_t at) noexcept;

// Offset of the first byte that does not belong to valid UTF-8; nothing when all of it is valid.
std::optional<std::size_t> validate_utf8(std::string_view text) noexcept;

// Throws Error(usage) "[text] <what> is not valid UTF-8 at byte N" when it is not.
void require_utf8(std::string_view text, std::string_view what);

void append_utf8(std::string& out, char32_t code_point);

// Each bad sequence becomes one U+FFFD, split as the Unicode standard recommends (and as Hugging Face's
// decode does).
std::string lossy_utf8(std::string_view bytes);

}  // namespace tetrad::text

// GPT-2's byte-level alphabet: every byte 0..255 is written as one printable character, so that a vocabulary
// of text strings can cover arbitrary bytes. Printable Latin-1 bytes stand for themselves, the other 68 get
// U+0100 upwards (space is U+0120).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace tetrad::text {

// The character that stands for each byte.
const std::array<char32_t, 256>& byte_level_alphabet();

// Appends the alphabet's spelling of `bytes`.
void append_byte_level(std::string& out, std::string_view bytes);

// The bytes that a token stands for. A token with a character outside the alphabet (an added token such as
// one with a plain space) stands for its own UTF-8 bytes as a whole: this is what Hugging Face's ByteLevel
// decoder does.
std::string byte_level_to_bytes(std::string_view token);

}  // namespace tetrad::text

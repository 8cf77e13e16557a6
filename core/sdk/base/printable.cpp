#include "sdk/base/printable.h"

namespace tetrad {
namespace {

// Length of the valid UTF-8 character at the start of `text` (not empty); 0 when there is none. The second
// byte's range excludes overlong forms, surrogates and what lies beyond U+10FFFF (Unicode, table 3-7).
std::size_t character_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t length = first >= 0xC2 && first < 0xE0   ? 2
                             : first >= 0xE0 && first < 0xF0 ? 3
                             : first < 0xF5                  ? 4
                                                             : 0;
  if (first < 0xC2 || length == 0 || text.size() < length) return 0;
  const unsigned low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
  const unsigned high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
  if (byte(1) < low || byte(1) > high) return 0;
  for (std::size_t i = 2; i < length; ++i) {
    if ((byte(i) & 0xC0U) != 0x80) return 0;
  }
  return length;
}

bool is_control(std::string_view character) {
  const auto first = static_cast<unsigned char>(character[0]);
  if (character.size() == 1) return first < 0x20 || first == 0x7F;
  return first == 0xC2 && static_cast<unsigned char>(character[1]) < 0xA0;  // U+0080 to U+009F
}

void append_escaped(std::string& out, std::string_view bytes) {
  constexpr const char* digits = "0123456789ABCDEF";
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    out += "\\x";
    out += digits[byte >> 4];
    out += digits[byte & 15];
  }
}

}  // namespace

std::string printable(std::string_view text, std::size_t longest, Newlines newlines) {
  std::string out;
  while (!text.empty() && out.size() < longest) {
    const std::size_t length = character_length(text);
    const std::string_view character = text.substr(0, length == 0 ? 1 : length);
    if (length != 0 && (!is_control(character) || (character == "\n" && newlines == Newlines::keep))) {
      out += character;
    } else {
      append_escaped(out, character);
    }
    text.remove_prefix(character.size());
  }
  return text.empty() ? out : out + "...";
}

std::string json_problem(std::string_view what) {
  if (const std::size_t at = what.find("] "); what.starts_with("[json.") && at != what.npos)
    what.remove_prefix(at + 2);
  for (const std::string_view prefix : {"parse error at ", "parse error: "}) {
    if (what.starts_with(prefix)) what.remove_prefix(prefix.size());
  }
  return printable(what, 400);
}

}  // namespace tetrad

#include "text/utf8.h"

#include <tetrad/base/error.h>

#include <cstring>

namespace tetrad::text {
namespace {

constexpr char32_t kReplacement = 0xFFFD;

// Range that the second byte of a sequence may have: this is what excludes overlong forms, surrogates and >
// U+10FFFF.
struct Lead {
  int length;
  unsigned char low, high;
};

Lead lead_of(unsigned char byte) noexcept {
  if (byte < 0x80) return {1, 0, 0};
  if (byte < 0xC2) return {0, 0, 0};
  if (byte < 0xE0) return {2, 0x80, 0xBF};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};
  if (byte < 0xF0) return {3, 0x80, 0xBF};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte < 0xF4) return {4, 0x80, 0xBF};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

}  // namespace

Utf8Char decode_utf8(std::string_view text, std::size_t at) noexcept {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(at);
  const Lead lead = lead_of(first);
  if (lead.length == 1) return {first, 1, Utf8Status::valid};
  if (lead.length == 0) return {kReplacement, 1, Utf8Status::invalid};
  char32_t code_point = first & (0xFFu >> (lead.length + 1));
  for (std::size_t i = 1; i < static_cast<std::size_t>(lead.length); ++i) {
    if (at + i >= text.size()) return {kReplacement, i, Utf8Status::incomplete};
    const unsigned char low = i == 1 ? lead.low : 0x80;
    const unsigned char high = i == 1 ? lead.high : 0xBF;
    if (byte(at + i) < low || byte(at + i) > high) return {kReplacement, i, Utf8Status::invalid};
    code_point = (code_point << 6) | (byte(at + i) & 0x3Fu);
  }
  return {code_point, static_cast<std::size_t>(lead.length), Utf8Status::valid};
}

std::optional<std::size_t> validate_utf8(std::string_view text) noexcept {
  std::size_t at = 0;
  while (at < text.size()) {
    // Eight ASCII bytes at a time: prompts and files are mostly ASCII.
    if (at + 8 <= text.size()) {
      unsigned long long word;
      std::memcpy(&word, text.data() + at, 8);
      if ((word & 0x8080808080808080ull) == 0) {
        at += 8;
        continue;
      }
    }
    const Utf8Char c = decode_utf8(text, at);
    if (c.status != Utf8Status::valid) return at;
    at += c.length;
  }
  return std::nullopt;
}

void require_utf8(std::string_view text, std::string_view what) {
  if (const auto bad = validate_utf8(text)) {
    throw Error(ExitCode::usage, "[text] " + std::string(what) + " is not valid UTF-8 at byte " +
                                     std::to_string(*bad) + "; save or send it as UTF-8");
  }
}

void append_utf8(std::string& out, char32_t c) {
  const auto put = [&](char32_t byte) { out.push_back(static_cast<char>(static_cast<unsigned char>(byte))); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | (c >> 6));
    put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | (c >> 12));
    put(0x80 | ((c >> 6) & 0x3F));
    put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | (c >> 18));
    put(0x80 | ((c >> 12) & 0x3F));
    put(0x80 | ((c >> 6) & 0x3F));
    put(0x80 | (c & 0x3F));
  }
}

std::string lossy_utf8(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  for (std::size_t at = 0; at < bytes.size();) {
    const Utf8Char c = decode_utf8(bytes, at);
    if (c.status == Utf8Status::valid) {
      out.append(bytes, at, c.length);
    } else {
      append_utf8(out, kReplacement);
    }
    at += c.length;
  }
  return out;
}

}  // namespace tetrad::text

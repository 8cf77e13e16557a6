#include "text/byte_level.h"

#include "text/utf8.h"

namespace tetrad::text {
namespace {

bool stands_for_itself(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF);
}

constexpr char32_t kHighest = 0x143;  // 0x100 + 68 - 1

struct Tables {
  std::array<char32_t, 256> alphabet{};
  std::array<std::string, 256> spelling;
  std::array<std::int16_t, kHighest + 1> byte_of{};

  Tables() {
    byte_of.fill(-1);
    char32_t next = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
      const char32_t c = stands_for_itself(byte) ? static_cast<char32_t>(byte) : next++;
      alphabet[static_cast<std::size_t>(byte)] = c;
      append_utf8(spelling[static_cast<std::size_t>(byte)], c);
      byte_of[c] = static_cast<std::int16_t>(byte);
    }
  }
};

const Tables& tables() {
  static const Tables instance;
  return instance;
}

}  // namespace

const std::array<char32_t, 256>& byte_level_alphabet() {
  return tables().alphabet;
}

void append_byte_level(std::string& out, std::string_view bytes) {
  const Tables& t = tables();
  for (const char c : bytes) out += t.spelling[static_cast<unsigned char>(c)];
}

std::string byte_level_to_bytes(std::string_view token) {
  const Tables& t = tables();
  std::string out;
  out.reserve(token.size());
  for (std::size_t at = 0; at < token.size();) {
    const Utf8Char c = decode_utf8(token, at);
    if (c.code_point > kHighest || t.byte_of[c.code_point] < 0) return std::string(token);
    out.push_back(static_cast<char>(static_cast<unsigned char>(t.byte_of[c.code_point])));
    at += c.length;
  }
  return out;
}

}  // namespace tetrad::text

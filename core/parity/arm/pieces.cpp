#include "parity/arm/pieces.h"

#include "text/tokenizer.h"
#include "text/utf8.h"

#include <nlohmann/json.hpp>

#include <string>

namespace tetrad::parity {

nlohmann::json token_piece(const text::Tokenizer& tokenizer, std::int32_t id) {
  const std::string bytes = tokenizer.token_bytes(id);
  if (!text::validate_utf8(bytes)) return {{"text", bytes}};
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    hex += kDigits[byte >> 4];
    hex += kDigits[byte & 15];
  }
  return {{"bytes", hex}};
}

nlohmann::json token_pieces(const text::Tokenizer& tokenizer, std::span<const std::int32_t> ids) {
  nlohmann::json pieces = nlohmann::json::array();
  for (const std::int32_t id : ids) pieces.push_back(token_piece(tokenizer, id));
  return pieces;
}

}  // namespace tetrad::parity

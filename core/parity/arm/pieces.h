// Tokens as people can read them. A token may hold parts of characters only; it is then shown as its bytes,
// so that nothing is invented and two such tokens can be told apart.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>

namespace tetrad::text {
class Tokenizer;
}  // namespace tetrad::text

namespace tetrad::parity {

// {"text": "..."}, or {"bytes": "e4bd"} where the token's bytes are not whole characters.
nlohmann::json token_piece(const text::Tokenizer& tokenizer, std::int32_t id);
// One for each id.
nlohmann::json token_pieces(const text::Tokenizer& tokenizer, std::span<const std::int32_t> ids);

}  // namespace tetrad::parity

// The likeliest tokens of one row of logits, for showing two arms' first choice side by side.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>

namespace tetrad::text {
class Tokenizer;
}  // namespace tetrad::text

namespace tetrad::parity {

// [{"id", "piece", "logit", "prob"}], the `count` largest of finite logits, largest first, the lower id first
// among equals; prob over the whole vocabulary.
nlohmann::json top_tokens(std::span<const float> logits, std::int64_t count,
                          const text::Tokenizer& tokenizer);

}  // namespace tetrad::parity

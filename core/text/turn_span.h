// A finished turn's place in a conversation's ledger of token ids, and what was said: what a running
// conversation keeps and a saved one stores.
#pragma once

#include <cstdint>
#include <string>

namespace tetrad::text {

// [begin, prompt_end) is the prompt, [prompt_end, end) answer and close tokens.
struct TurnSpan {
  std::int64_t begin = 0;
  std::int64_t prompt_end = 0;
  std::int64_t end = 0;
  std::string user;
  std::string text;
  std::string stop_reason;

  bool operator==(const TurnSpan&) const = default;
};

}  // namespace tetrad::text

// An arm's own conversation: the prompts, answered greedily by turns under the arm's feed. What the model
// would say, and how fast; the script of a reference arm is made of it.
#pragma once

#include "generate/chat_session.h"
#include "parity/arm/feed.h"
#include "parity/arm/script.h"

#include <atomic>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace tetrad::parity {

struct GreedyTurn {
  std::int64_t turn = 1;
  std::string prompt;
  generate::TurnResult result;
  std::int64_t begin = 0, end = 0;  // of prompt, answer and close in the context

  nlohmann::json to_json(const text::Tokenizer& tokenizer) const;
};

// From an empty context; it holds the conversation afterwards. `chat` must be greedy. Throws Error when it is
// interrupted.
std::vector<GreedyTurn> play(generate::ChatSession& chat, generate::Context& context, const Feed& feed,
                             const std::vector<std::string>& prompts, const std::atomic<bool>& interrupt);

// The conversation that `context` holds, as it was played. Tokenizer and vocabulary are the caller's to say.
Script script_of(const std::vector<GreedyTurn>& turns, const generate::Context& context);

// Of one conversation.
struct Speed {
  double ttft_s = 0.0;         // from the first prompt's ids to the first token
  double prefill_tok_s = 0.0;  // over all prompts
  double decode_tok_s = 0.0;   // over all answers; 0 when no token was decoded
};
Speed speed_of(const std::vector<GreedyTurn>& turns);

// Each figure's median. `runs` must not be empty.
Speed median_speed(const std::vector<Speed>& runs);

}  // namespace tetrad::parity

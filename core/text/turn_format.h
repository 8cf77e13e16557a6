// What a turn adds to a conversation, as tokens: the host feeds only a turn's own new tokens and never
// renders the history again. The pieces are derived from the chat template by rendering marker texts and
// taking the result apart; a template whose history does not begin with what was fed before (it rewrites
// earlier turns) is refused when it is loaded.
//
// first turn: template([system], user) with the generation prompt. next turn: what the template puts around a
// later user message. close: what ends an answer, up to the next special token; "<|im_end|>\n" in ChatML.
#pragma once

#include "text/chat_template.h"
#include "text/tokenizer.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tetrad::text {

struct TurnTokens {
  std::vector<std::int32_t> ids;
  std::string text;
};

class TurnFormat {
 public:
  // Throws Error naming what the template does that turns cannot follow.
  static TurnFormat derive(ChatTemplate chat_template, Tokenizer tokenizer);

  // For a model without a template, whose prompts are continued as they stand: nothing closes an answer, and
  // first() and next() throw Error.
  static TurnFormat none(Tokenizer tokenizer);

  TurnTokens first(const std::optional<std::string>& system, std::string_view user) const;
  TurnTokens next(std::string_view user) const;

  // The whole close, e.g. <|im_end|> and a newline. Its first id is the turn's own stop token.
  const std::vector<std::int32_t>& close_ids() const noexcept { return close_; }
  // What is left to feed when the close's first token was generated and accepted.
  std::vector<std::int32_t> close_after_stop_ids() const { return {close_.begin() + 1, close_.end()}; }

 private:
  TurnFormat(ChatTemplate chat_template, Tokenizer tokenizer)
      : template_(std::move(chat_template)), tokenizer_(std::move(tokenizer)) {}
  void take_apart();
  void require_turns() const;

  ChatTemplate template_;
  Tokenizer tokenizer_;
  std::string before_user_, after_user_;  // around a later user message
  bool has_turns_ = false;
  bool trims_user_ = false;  // the template strips white space around it
  std::vector<std::int32_t> close_;
};

}  // namespace tetrad::text

// A conversation by turns. Each turn feeds only its own new tokens (delta prefill), generates, materialises
// every accepted token and closes the turn with the template's own close tokens, so that the next turn's
// positions align. The template is not rendered again: the ledger is the truth.
#pragma once

#include "generate/context.h"
#include "generate/device_sampler.h"
#include "generate/sampler.h"
#include "text/tokenizer.h"
#include "text/turn_format.h"
#include "text/turn_span.h"

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tetrad::generate {

enum class StopReason { stop_token, max_tokens, interrupted, collapse, timeout };
const char* stop_reason_name(StopReason reason) noexcept;

struct GenerationOptions {
  std::int64_t max_tokens = 256;
  SamplingOptions sampling{};
  bool ignore_eos = false;
  bool stop_on_collapse = false;  // otherwise a collapse is reported in the result and generation goes on
  std::vector<std::int32_t> stop_ids{};
  std::optional<double> timeout_seconds{};  // for one answer, prefill included; looked at after each token
};

struct TurnResult {
  std::vector<std::int32_t> prompt_ids;  // what was prefilled for this turn
  std::vector<std::int32_t> output_ids;  // accepted tokens, the stop token not included
  std::string text;                      // whole characters only
  std::size_t withheld_bytes = 0;        // bytes of a character that the end of the output cut in half
  StopReason stop_reason = StopReason::max_tokens;
  std::optional<std::string> collapse;  // what repeats, when something does
  double prefill_seconds = 0.0;         // until the first logits
  double first_token_seconds = 0.0;     // until the first token was chosen and handed to on_text
  double decode_seconds = 0.0;          // from the first token to the last
  std::int64_t decoded_tokens = 0;      // tokens that decode_seconds covers
  std::vector<float> gaps;              // top-1/top-2 logit gap of each choice, the stop token's included
  float smallest_gap = 0.0F;            // the smallest of them
};

class ChatSession {
 public:
  using OnText = std::function<void(std::string_view)>;  // whole characters as they come

  ChatSession(Context& context, const text::Tokenizer& tokenizer, const text::TurnFormat& format,
              GenerationOptions options, std::optional<std::string> system);

  // One turn. Throws Error(usage) before anything is fed when history + prompt + max_tokens + close tokens
  // pass the context limit. `interrupt` ends the generation cleanly: the turn is closed all the same. A turn
  // that fails half-way is taken back.
  TurnResult turn(std::string_view user, const OnText& on_text, const std::atomic<bool>& interrupt);

  // Generates from given ids instead of a user turn (raw prompts); the turn is not closed.
  TurnResult complete(const std::vector<std::int32_t>& prompt_ids, const OnText& on_text,
                      const std::atomic<bool>& interrupt);

  std::int64_t turns() const noexcept { return static_cast<std::int64_t>(table_.size()); }
  const std::vector<text::TurnSpan>& turn_table() const noexcept { return table_; }
  void reset();

  // Takes the last turn back; its user message, nothing when there is no turn.
  std::optional<std::string> undo();

  const std::optional<std::string>& system() const noexcept { return system_; }
  // Begins anew with another system message (the ledger's first turn holds the old one).
  void set_system(std::optional<std::string> system);

  // Takes a stored conversation over: feeds `ledger` from an empty context. The caller vouches for ids within
  // the vocabulary and a table that covers the ledger. Throws Error(usage) when it does not fit; after any
  // failure the conversation is what it was.
  void restore(const std::vector<std::int32_t>& ledger, std::vector<text::TurnSpan> table,
               std::optional<std::string> system);

 private:
  Choice pick(const at::Tensor& logits);
  TurnResult generate(std::vector<std::int32_t> prompt_ids, bool close, const OnText& on_text,
                      const std::atomic<bool>& interrupt);
  void take_back(std::int64_t length) noexcept;
  void require_room(std::size_t prompt, std::size_t close) const;

  Context& context_;
  const text::Tokenizer& tokenizer_;
  const text::TurnFormat& format_;
  GenerationOptions options_;
  std::optional<std::string> system_;
  Sampler sampler_;
  DeviceSampler device_sampler_;
  std::vector<text::TurnSpan> table_;
};

}  // namespace tetrad::generate

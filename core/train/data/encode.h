// Examples as token ids, exactly as a chat with the model would have them: the prompt as the chat feeds it
// (core/text's TurnFormat), the answer as the model would generate it, encoded apart from the prompt, and the
// token that closes it. What the model has to learn is the answer and the closing token; the rest is context.
#pragma once

#include "train/data/chat_jsonl.h"
#include "train/data/dataset.h"
#include "train/data/tsv.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tetrad::train {

struct EncodedExample {
  std::vector<std::int32_t> ids;
  std::vector<Span> learn;
};

// Special tokens spelled in an answer stay plain text: a file must not teach the model to close a turn inside
// one. `learn_prompts` scores the prompts too. Throws Error for a model without a chat template.
EncodedExample encode_conversation(const Conversation& conversation, const text::TurnFormat& turns,
                                   const text::Tokenizer& tokenizer, bool learn_prompts);

// All ids of a plain text, as if encoded at once, special tokens spelled in it as plain text. A long text is
// encoded in pieces, cut where no token can reach across: between two letters or digits with one line feed
// between them.
std::vector<std::int32_t> encode_plain_text(std::string_view utf8, const text::Tokenizer& tokenizer,
                                            std::size_t piece_bytes = std::size_t{1} << 20);

}  // namespace tetrad::train

#include "train/data/encode.h"

#include <algorithm>

#include "text/tokenizer.h"
#include "text/turn_format.h"

namespace tetrad::train {
namespace {

void append(std::vector<std::int32_t>& to, const std::vector<std::int32_t>& ids) {
  to.insert(to.end(), ids.begin(), ids.end());
}

// Bytes of UTF-8 beyond ASCII count: what is needed is that neither neighbour is white space or punctuation
// that a pre-tokenizer joins with a line feed.
bool letter_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

// The end of a piece that begins at `begin`: behind a single line feed between letters, or the text's end.
std::size_t piece_end(std::string_view text, std::size_t begin, std::size_t piece_bytes) {
  std::size_t at = begin + std::max<std::size_t>(piece_bytes, 2);
  while (at < text.size()) {
    at = text.find('\n', at);
    if (at == std::string_view::npos || at + 1 >= text.size()) break;
    if (letter_or_digit(text[at - 1]) && letter_or_digit(text[at + 1])) return at + 1;
    ++at;
  }
  return text.size();
}

}  // namespace

EncodedExample encode_conversation(const Conversation& conversation, const text::TurnFormat& turns,
                                   const text::Tokenizer& tokenizer, bool learn_prompts) {
  EncodedExample example;
  for (std::size_t i = 0; i < conversation.exchanges.size(); ++i) {
    const Exchange& exchange = conversation.exchanges[i];
    append(example.ids,
           i == 0 ? turns.first(conversation.system, exchange.user).ids : turns.next(exchange.user).ids);
    const auto begin = static_cast<std::int32_t>(example.ids.size());
    append(example.ids, tokenizer.encode(exchange.assistant, /*parse_special=*/false));
    append(example.ids, turns.close_ids());
    // The rest of the close (a line feed in ChatML) is fed by the host, never generated.
    const auto end = static_cast<std::int32_t>(example.ids.size() - turns.close_after_stop_ids().size());
    example.learn.push_back({begin, end});
  }
  example.ids.resize(static_cast<std::size_t>(example.learn.back().end));
  if (learn_prompts) example.learn = {{1, static_cast<std::int32_t>(example.ids.size())}};
  return example;
}

std::vector<std::int32_t> encode_plain_text(std::string_view utf8, const text::Tokenizer& tokenizer,
                                            std::size_t piece_bytes) {
  std::vector<std::int32_t> ids;
  for (std::size_t begin = 0; begin < utf8.size();) {
    const std::size_t end = piece_end(utf8, begin, piece_bytes);
    append(ids, tokenizer.encode(utf8.substr(begin, end - begin), /*parse_special=*/false));
    begin = end;
  }
  return ids;
}

}  // namespace tetrad::train

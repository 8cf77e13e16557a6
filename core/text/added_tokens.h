// Added tokens of tokenizer.json: strings that are cut out of the text before anything else and become one id
// each
// (<|im_start|>, <think> ...). Matching is leftmost-longest, in two rounds as in Hugging Face: tokens with
// normalized=false on the raw text, the others on the normalized text; single_word, lstrip and rstrip are
// obeyed.
#pragma once

#include "text/bpe.h"
#include "text/normalizer.h"
#include "text/regex.h"

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tetrad::text {

struct AddedToken {
  std::int32_t id = 0;
  std::string content;
  std::string form;  // what is looked for and decoded: the content, normalized where the token is
  bool single_word = false, lstrip = false, rstrip = false, normalized = false, special = false;
};

// A part of a text: an added token, or plain text (id < 0) of these bytes.
struct Part {
  std::int32_t id = -1;
  Span span;
};

class AddedTokens {
 public:
  // The "added_tokens" array. Ids are checked against the vocabulary: a token that is in it must have its id,
  // a new one the next free id, as Hugging Face would assign it. Throws Error naming the entry.
  AddedTokens(const JsonView& json, const Bpe& model, const Normalizer& normalizer);

  // Cuts `text` into parts; `normalized` picks the round. With parse_special=false special tokens are plain
  // text.
  std::vector<Part> split(std::string_view text, bool normalized, bool parse_special) const;

  const std::vector<AddedToken>& tokens() const noexcept { return tokens_; }
  bool any_normalized() const noexcept { return !tries_[1].nodes.empty(); }

 private:
  struct Trie {
    struct Node {
      std::vector<std::pair<unsigned char, std::int32_t>> next;
      std::int32_t token = -1;  // index into tokens_
    };
    std::vector<Node> nodes;
    std::array<std::int32_t, 256> first{};  // node for each first byte, -1 if none: most bytes start no token

    void insert(std::string_view word, std::int32_t token);
    // Index of the longest token that starts at `at` and its length; {-1, 0} if none.
    std::pair<std::int32_t, std::size_t> longest(std::string_view text, std::size_t at) const;
  };

  std::vector<AddedToken> tokens_;
  std::array<Trie, 2> tries_;  // [normalized]
};

}  // namespace tetrad::text

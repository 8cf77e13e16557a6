// Streaming decode: ids in, text out, one complete character at a time. A token may end inside a character;
// those bytes are held back until the next token completes them, so that a terminal or a JSON stream never
// sees half a character. What is held back when the generation ends is reported, not printed: the ids still
// carry it.
#pragma once

#include "text/tokenizer.h"

#include <cstddef>
#include <cstdint>
#include <string>

namespace tetrad::text {

class IncrementalDecoder {
 public:
  enum class Invalid {
    replace,  // bytes that no continuation could complete become U+FFFD: for people
    keep,     // they are passed on as they are: the concatenation is the exact bytes
  };

  explicit IncrementalDecoder(Tokenizer tokenizer, bool skip_special = true,
                              Invalid invalid = Invalid::replace)
      : tokenizer_(std::move(tokenizer)), skip_special_(skip_special), invalid_(invalid) {}

  // The text that became complete with this id; may be empty.
  std::string feed(std::int32_t id);

  // Ends the stream: drops the bytes of an incomplete character and returns how many there were (0..3). The
  // decoder may be used again afterwards.
  std::size_t finish();

 private:
  Tokenizer tokenizer_;
  bool skip_special_;
  Invalid invalid_;
  std::string pending_;  // a proper prefix of one character
};

}  // namespace tetrad::text

// Pre-tokenizers of tokenizer.json: they cut text into the pieces inside which BPE merges. Supported:
// ByteLevel, Split (regex or literal, every behaviour, invert), Digits, Sequence. Any other type, or a field
// that is not known, is an Error naming it.
#pragma once

#include "text/json_view.h"
#include "text/regex.h"

#include <memory>
#include <string>
#include <vector>

namespace tetrad::text {

// Text and the pieces it is cut into: in order, not empty, not overlapping. A piece is seen by itself: a
// lookahead does not look into the next one.
struct Pieces {
  std::string text;
  std::vector<Span> spans;

  std::string_view piece(const Span& span) const {
    return std::string_view(text).substr(span.begin, span.end - span.begin);
  }
};

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  virtual void apply(Pieces& pieces) const = 0;
};

// The "pre_tokenizer" field; null gives one that leaves the pieces alone.
std::unique_ptr<PreTokenizer> make_pre_tokenizer(const JsonView& json);

// Whether text that went through it is spelled in the byte-level alphabet (contains a ByteLevel).
bool is_byte_level(const JsonView& json);

}  // namespace tetrad::text

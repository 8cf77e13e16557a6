// Where a conversation's turns come from: a person at an editor, or lines of standard input.
#pragma once

#include <cstdint>
#include <string>

namespace tetrad::cli {

struct Line {
  enum class Kind : std::uint8_t {
    text,
    end,          // of the input: Ctrl-D, the end of a pipe
    interrupted,  // Ctrl-C at the prompt; what was typed is gone
  };
  Kind kind = Kind::end;
  std::string text;  // without the final newline; a pasted text may have newlines in it
};

class LineSource {
 public:
  virtual ~LineSource() = default;
  virtual Line next() = 0;
  // Whether somebody is there who can correct a mistake: then an error costs its turn, not the conversation.
  virtual bool person() const noexcept = 0;
};

}  // namespace tetrad::cli

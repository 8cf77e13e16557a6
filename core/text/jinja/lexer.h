// Cuts a template into text, tags and the tokens inside tags, with Jinja's whitespace rules as Hugging Face
// sets them: trim_blocks and lstrip_blocks on, the template's last newline dropped, "\r\n" read as "\n".
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace tetrad::text::jinja {

enum class TokenKind {
  text,         // literal output
  print_begin,  // {{
  print_end,    // }}
  block_begin,  // {%
  block_end,    // %}
  name,         // identifiers and keywords
  string,       // value without quotes, escapes resolved
  integer,
  real,
  op,   // punctuation and operators
  end,  // of the template
};

struct Token {
  TokenKind kind;
  std::string text;
  int line;
};

// Throws Error "[text] NAME:LINE: ..." on what is not a token of the language.
std::vector<Token> tokenize(std::string_view source, const std::string& name);

[[noreturn]] void fail_at(const std::string& name, int line, const std::string& message);

}  // namespace tetrad::text::jinja

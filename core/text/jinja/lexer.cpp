#include "text/jinja/lexer.h"

#include "sdk/base/printable.h"
#include "text/jinja/value.h"
#include "text/utf8.h"

#include <tetrad/base/error.h>

#include <algorithm>
#include <array>

namespace tetrad::text::jinja {
namespace {

constexpr int kMaxTokensPerTag = 1000;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

// "\r\n" and "\r" become "\n"; one newline at the very end is dropped.
std::string normalized(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      out += source[i];
    }
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

class Lexer {
 public:
  Lexer(std::string_view source, const std::string& name)
      : source_(normalized(source)), in_(source_), name_(name) {}

  std::vector<Token> run() {
    while (at_ < in_.size()) {
      const std::size_t tag = find_tag(at_);
      if (tag == std::string_view::npos) {
        text(in_.substr(at_));
        at_ = in_.size();
        break;
      }
      opening(tag);
    }
    push(TokenKind::end, "");
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void fail(const std::string& message) const { fail_at(name_, line_, message); }

  void push(TokenKind kind, std::string text) { tokens_.push_back({kind, std::move(text), line_}); }

  // Moves on to `to`, counting lines.
  void advance(std::size_t to) {
    line_ += static_cast<int>(std::count(in_.begin() + static_cast<std::ptrdiff_t>(at_),
                                         in_.begin() + static_cast<std::ptrdiff_t>(to), '\n'));
    at_ = to;
  }

  void text(std::string_view data) {
    if (!data.empty()) push(TokenKind::text, std::string(data));
  }

  std::size_t find_tag(std::size_t from) const {
    for (std::size_t i = from; i + 1 < in_.size(); ++i) {
      if (in_[i] == '{' && (in_[i + 1] == '{' || in_[i + 1] == '%' || in_[i + 1] == '#')) return i;
    }
    return std::string_view::npos;
  }

  std::size_t skip_spaces(std::size_t at) const {
    while (at < in_.size()) {
      const Utf8Char c = decode_utf8(in_, at);
      if (!is_python_space(c.code_point)) break;
      at += c.length;
    }
    return at;
  }

  static std::string_view without_trailing_spaces(std::string_view data) {
    while (!data.empty()) {
      std::size_t start = data.size() - 1;
      while (start > 0 && (static_cast<unsigned char>(data[start]) & 0xC0) == 0x80) --start;
      if (!is_python_space(decode_utf8(data, start).code_point)) break;
      data.remove_suffix(data.size() - start);
    }
    return data;
  }

  // The literal text before the tag at `tag`, and the tag itself.
  void opening(std::size_t tag) {
    std::string_view before = in_.substr(at_, tag - at_);
    const char kind = in_[tag + 1];
    const char sign = tag + 2 < in_.size() ? in_[tag + 2] : '\0';
    if (sign == '-') {
      before = without_trailing_spaces(before);
    } else if (sign != '+' && kind != '{') {
      const std::size_t newline = before.rfind('\n');
      const std::size_t line_start = newline == std::string_view::npos ? 0 : newline + 1;
      const bool at_line_start = newline != std::string_view::npos || line_starting_;
      if (at_line_start && without_trailing_spaces(before.substr(line_start)).empty())
        before = before.substr(0, line_start);
    }
    text(before);
    advance(tag);
    advance(tag + 2 + (sign == '-' || sign == '+' ? 1 : 0));
    if (kind == '#') return comment();
    push(kind == '{' ? TokenKind::print_begin : TokenKind::block_begin, "");
    inside(kind == '{' ? "}}" : "%}", kind != '{');
  }

  // Leaves a tag whose closing mark starts at `close`; trims what follows as its sign says.
  void closing(std::size_t close, std::size_t length, char sign, bool trims_newline) {
    std::size_t next = close + length;
    if (sign == '-') {
      next = skip_spaces(next);
    } else if (sign != '+' && trims_newline && next < in_.size() && in_[next] == '\n') {
      ++next;
    }
    line_starting_ = next > 0 && in_[next - 1] == '\n';
    advance(next);
  }

  void comment() {
    const std::size_t close = in_.find("#}", at_);
    if (close == std::string_view::npos) fail("a comment without #}");
    const char sign = close > at_ && (in_[close - 1] == '-' || in_[close - 1] == '+') ? in_[close - 1] : '\0';
    closing(close, 2, sign, true);
  }

  void inside(std::string_view end, bool is_block) {
    std::string brackets;
    // The parser and the evaluator recurse into what one tag holds, so its size is bounded.
    for (int count = 0;; ++count) {
      if (count > kMaxTokensPerTag)
        fail("a tag of more than " + std::to_string(kMaxTokensPerTag) + " tokens");
      advance(skip_spaces(at_));
      if (at_ >= in_.size()) fail("a tag without " + std::string(end));
      if (brackets.empty()) {
        const char c = in_[at_];
        const bool sign = (c == '-' || (c == '+' && is_block)) && in_.substr(at_ + 1, 2) == end;
        if (sign || in_.substr(at_, 2) == end) {
          push(is_block ? TokenKind::block_end : TokenKind::print_end, "");
          return closing(at_ + (sign ? 1 : 0), 2, sign ? c : '\0', is_block);
        }
      }
      token(brackets);
    }
  }

  void token(std::string& brackets) {
    const char c = in_[at_];
    if (is_name_start(c)) {
      std::size_t end = at_;
      while (end < in_.size() && (is_name_start(in_[end]) || is_digit(in_[end]))) ++end;
      push(TokenKind::name, std::string(in_.substr(at_, end - at_)));
      at_ = end;
    } else if (is_digit(c)) {
      number();
    } else if (c == '\'' || c == '"') {
      string_literal(c);
    } else {
      operator_token(brackets);
    }
  }

  void number() {
    std::size_t end = at_;
    bool real = false;
    while (end < in_.size() && is_digit(in_[end])) ++end;
    if (end + 1 < in_.size() && in_[end] == '.' && is_digit(in_[end + 1])) {
      real = true;
      ++end;
      while (end < in_.size() && is_digit(in_[end])) ++end;
    }
    if (end < in_.size() && (is_name_start(in_[end]))) fail("a number of an unsupported form");
    if (!real && end - at_ > 1 && in_[at_] == '0') fail("a number with a leading zero");
    push(real ? TokenKind::real : TokenKind::integer, std::string(in_.substr(at_, end - at_)));
    at_ = end;
  }

  void string_literal(char quote) {
    std::string value;
    std::size_t i = at_ + 1;
    for (;; ++i) {
      if (i >= in_.size()) fail("a string without its closing quote");
      if (in_[i] == quote) break;
      if (in_[i] != '\\') {
        value += in_[i];
        continue;
      }
      if (++i >= in_.size()) fail("a string without its closing quote");
      escape(i, value);
    }
    push(TokenKind::string, std::move(value));
    advance(i + 1);
  }

  // The escape whose letter is at `i`; leaves `i` on its last byte. Unknown ones keep their backslash, as in
  // Python.
  void escape(std::size_t& i, std::string& value) const {
    static constexpr std::string_view kLetters = "ntrabfv\\'\"", kValues = "\n\t\r\a\b\f\v\\'\"";
    const char c = in_[i];
    if (const auto known = kLetters.find(c); known != std::string_view::npos) {
      value += kValues[known];
      return;
    }
    if (c == '\n') return;
    if (is_digit(c) || c == 'N' || static_cast<unsigned char>(c) >= 0x80)
      fail("an unsupported escape in a string");
    const std::size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (digits == 0) {
      value += '\\';
      value += c;
      return;
    }
    char32_t code_point = 0;
    for (std::size_t d = 0; d < digits; ++d) {
      const char h = ++i < in_.size() ? in_[i] : '\0';
      const int digit = is_digit(h)            ? h - '0'
                        : h >= 'a' && h <= 'f' ? h - 'a' + 10
                        : h >= 'A' && h <= 'F' ? h - 'A' + 10
                                               : -1;
      if (digit < 0) fail("an incomplete escape in a string");
      code_point = code_point * 16 + static_cast<char32_t>(digit);
    }
    if (code_point > 0x10FFFF || (code_point >= 0xD800 && code_point <= 0xDFFF))
      fail("an escape that is not a character");
    append_utf8(value, code_point);
  }

  void operator_token(std::string& brackets) {
    static constexpr std::array<std::string_view, 26> kOperators = {
        "**", "//", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
        "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"};
    for (const auto op : kOperators) {
      if (in_.substr(at_, op.size()) != op) continue;
      const char c = op[0];
      if (op == "(" || op == "[" || op == "{") {
        brackets += c;
      } else if (op == ")" || op == "]" || op == "}") {
        const char open = c == ')' ? '(' : c == ']' ? '[' : '{';
        if (brackets.empty() || brackets.back() != open) fail("an unexpected '" + std::string(op) + "'");
        brackets.pop_back();
      }
      push(TokenKind::op, std::string(op));
      at_ += op.size();
      return;
    }
    fail("an unexpected '" + std::string(in_.substr(at_, decode_utf8(in_, at_).length)) + "'");
  }

  std::string source_;
  std::string_view in_;
  const std::string& name_;
  std::size_t at_ = 0;
  int line_ = 1;
  bool line_starting_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

void fail_at(const std::string& name, int line, const std::string& message) {
  throw Error("[text] " + name + ":" + std::to_string(line) + ": " + printable(message, 1000));
}

std::vector<Token> tokenize(std::string_view source, const std::string& name) {
  if (const auto bad = validate_utf8(source)) {
    throw Error("[text] " + name + ": is not valid UTF-8 at byte " + std::to_string(*bad));
  }
  return Lexer(source, name).run();
}

}  // namespace tetrad::text::jinja

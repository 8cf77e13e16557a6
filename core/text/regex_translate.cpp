// Oniguruma (Ruby syntax, UTF-8) to PCRE2. What differs and matters for pre-tokenizers:
//   \s      Oniguruma: Unicode White_Space. PCRE2 with UCP adds U+180E: spelled out as a class here.
//   \p{Han} Oniguruma: Script. PCRE2: Script_Extensions: written \p{sc:Han}.
//   \h \w \b \K \R \X and POSIX brackets mean other things, or depend on tables: refused.
//   $ ^     Oniguruma: always at lines. PCRE2 without MULTILINE: at the text: refused.
//   .       both stop at \n only. && and nested [ ] in classes are Oniguruma's set syntax: refused.
#include "sdk/base/printable.h"
#include "text/regex.h"
#include "text/utf8.h"

#include <tetrad/base/error.h>

#include <array>
#include <cctype>

namespace tetrad::text {
namespace {

constexpr std::string_view kSpace =
    "\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{"
    "3000}";

constexpr std::array<std::string_view, 37> kCategories = {
    "L",  "Lu", "Ll", "Lt", "Lm", "Lo", "M",  "Mn", "Mc", "Me", "N",  "Nd", "Nl",
    "No", "P",  "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "S",  "Sm", "Sc", "Sk",
    "So", "Z",  "Zs", "Zl", "Zp", "C",  "Cc", "Cf", "Co", "Cs", "Cn"};

constexpr std::array<std::string_view, 12> kScripts = {"Han",    "Hiragana", "Katakana", "Hangul",
                                                       "Latin",  "Greek",    "Cyrillic", "Arabic",
                                                       "Hebrew", "Thai",     "Lao",      "Khmer"};

template <std::size_t N>
bool contains(const std::array<std::string_view, N>& list, std::string_view name) {
  for (const auto entry : list) {
    if (entry == name) return true;
  }
  return false;
}

class Translator {
 public:
  explicit Translator(std::string_view in) : in_(in) {}

  std::string run() {
    while (at_ < in_.size()) {
      const char c = in_[at_];
      if (c == '\\') {
        escape();
      } else if (in_class_) {
        class_char(c);
      } else {
        plain_char(c);
      }
    }
    if (in_class_) refuse("a class without ]");
    return std::move(out_);
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    throw Error("[text] the regex " + printable(in_) + " uses " + what + " at offset " + std::to_string(at_) +
                ", which has no known equivalent here; the tokenizer cannot be used");
  }

  void take(std::size_t count) {
    out_.append(in_, at_, count);
    at_ += count;
  }

  void plain_char(char c) {
    if (c == '[') {
      in_class_ = true;
      take(1);
      if (at_ < in_.size() && in_[at_] == '^') take(1);
      if (at_ < in_.size() && in_[at_] == ']') refuse("an empty class");
      return;
    }
    if (c == '^' || c == '$') refuse("a line anchor");
    if (c == '(' && at_ + 1 < in_.size() && in_[at_ + 1] == '?') return group();
    if (c == '(' && at_ + 1 < in_.size() && in_[at_ + 1] == '*') refuse("a (* verb");
    if (c == '{' && !interval()) {
      out_ += "\\{";  // not a counted repeat: a literal brace in both engines, spelled so that it stays one
      ++at_;
      return;
    }
    take(1);
  }

  // Groups whose meaning is the same: (?: (?= (?! (?<= (?<! (?> (?i: (?-i:
  void group() {
    for (const std::string_view known : {"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?i:", "(?-i:"}) {
      if (in_.substr(at_, known.size()) == known) return take(known.size());
    }
    refuse("the group " + std::string(in_.substr(at_, 4)));
  }

  // True when {n}, {n,} or {n,m} starts here; Oniguruma's {,m} means {0,m}, which PCRE2 10.42 takes
  // literally.
  bool interval() const {
    std::size_t i = at_ + 1;
    const std::size_t digits = i;
    while (i < in_.size() && std::isdigit(static_cast<unsigned char>(in_[i]))) ++i;
    const bool low = i > digits;
    if (i < in_.size() && in_[i] == ',') {
      ++i;
      while (i < in_.size() && std::isdigit(static_cast<unsigned char>(in_[i]))) ++i;
    }
    const bool closed = i < in_.size() && in_[i] == '}' && i > at_ + 1;
    if (closed && !low) refuse("a repeat without a lower bound");
    if (closed && i + 1 < in_.size() && in_[i + 1] == '+')
      refuse("a counted repeat followed by +");  // not possessive there
    return closed;
  }

  void class_char(char c) {
    if (c == '[') refuse("a set or POSIX bracket inside a class");
    if (c == '&' && at_ + 1 < in_.size() && in_[at_ + 1] == '&') refuse("a class intersection");
    if (c == ']') in_class_ = false;
    take(1);
  }

  void escape() {
    if (at_ + 1 >= in_.size()) refuse("a trailing backslash");
    const char c = in_[at_ + 1];
    switch (c) {
      case 's':
        out_ += in_class_ ? std::string(kSpace) : "[" + std::string(kSpace) + "]";
        at_ += 2;
        return;
      case 'S':
        if (in_class_) refuse("\\S inside a class");
        out_ += "[^" + std::string(kSpace) + "]";
        at_ += 2;
        return;
      case 'd':
      case 'D':
        out_ += c == 'd' ? "\\p{Nd}" : "\\P{Nd}";
        at_ += 2;
        return;
      case 'n':
      case 'r':
      case 't':
      case 'f':
        return take(2);
      case 'v':
        out_ += "\\x{b}";  // a vertical tab there, a whole class in PCRE2
        at_ += 2;
        return;
      case 'x':
      case 'u':
        return code_point();
      case 'p':
      case 'P':
        return property();
      default:
        if (static_cast<unsigned char>(c) >= 0x80 || std::ispunct(static_cast<unsigned char>(c)) || c == ' ')
          return take(2);
        refuse(std::string("\\") + c);
    }
  }

  // \xHH, \x{H..}, \uHHHH
  void code_point() {
    const bool braces = in_[at_ + 1] == 'x' && at_ + 2 < in_.size() && in_[at_ + 2] == '{';
    std::size_t i = at_ + (braces ? 3 : 2);
    const std::size_t limit = braces ? i + 6 : i + (in_[at_ + 1] == 'x' ? 2 : 4);
    std::string digits;
    while (i < in_.size() && i < limit && std::isxdigit(static_cast<unsigned char>(in_[i])))
      digits += in_[i++];
    if (digits.empty() || (!braces && i != limit)) refuse("an incomplete character number");
    if (braces && (i >= in_.size() || in_[i++] != '}')) refuse("an incomplete character number");
    if (in_[at_ + 1] == 'x' && !braces && digits[0] >= '8') refuse("a raw byte");
    out_ += "\\x{" + digits + "}";
    at_ = i;
  }

  void property() {
    std::size_t close =
        at_ + 2 < in_.size() && in_[at_ + 2] == '{' ? in_.find('}', at_) : std::string_view::npos;
    if (close == std::string_view::npos) refuse("a property without braces");
    std::string name(in_.substr(at_ + 3, close - at_ - 3));
    bool negated = in_[at_ + 1] == 'P';
    if (!name.empty() && name[0] == '^') {
      negated = !negated;
      name.erase(0, 1);
    }
    const bool script = contains(kScripts, name);
    if (!script && !contains(kCategories, name)) refuse("the property \\p{" + name + "}");
    out_ += std::string(negated ? "\\P{" : "\\p{") + (script ? "sc:" : "") + name + "}";
    at_ = close + 1;
  }

  std::string_view in_;
  std::size_t at_ = 0;
  bool in_class_ = false;
  std::string out_;
};

}  // namespace

std::string translate_oniguruma(std::string_view pattern) {
  if (const auto bad = validate_utf8(pattern)) {
    throw Error("[text] a tokenizer regex is not valid UTF-8 at byte " + std::to_string(*bad));
  }
  return Translator(pattern).run();
}

std::string escape_regex(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (std::ispunct(static_cast<unsigned char>(c)) && static_cast<unsigned char>(c) < 0x80) out += '\\';
    out += c;
  }
  return out;
}

}  // namespace tetrad::text

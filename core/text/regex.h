// Regular expressions of tokenizer.json over PCRE2 (UTF, Unicode properties, JIT where the system allows it).
// Those patterns are written for Oniguruma; translate_oniguruma() rewrites the constructs whose meaning
// differs and refuses the ones it does not know, so that a pattern either means the same here or is an error.
// A Regex is immutable and may be shared between threads; a Matcher holds the scratch space of one caller.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace tetrad::text {

// The PCRE2 spelling of an Oniguruma pattern. Throws Error naming the construct that cannot be carried over.
std::string translate_oniguruma(std::string_view pattern);

// Escapes every character of `text` that a pattern would interpret.
std::string escape_regex(std::string_view text);

struct Span {
  std::size_t begin = 0;
  std::size_t end = 0;
};

class Regex {
 public:
  // `pattern` in PCRE2 syntax; throws Error with PCRE2's message and offset when it does not compile.
  explicit Regex(const std::string& pattern);

 private:
  friend class Matcher;
  struct Code;
  std::shared_ptr<const Code> code_;
};

class Matcher {
 public:
  explicit Matcher(const Regex& regex);
  ~Matcher();
  Matcher(const Matcher&) = delete;
  Matcher& operator=(const Matcher&) = delete;

  // The next match of `subject` (valid UTF-8) that starts at or after `from`; lookbehind sees all of
  // `subject`.
  std::optional<Span> find(std::string_view subject, std::size_t from);

 private:
  struct State;
  std::shared_ptr<const Regex::Code> code_;
  std::unique_ptr<State> state_;
};

}  // namespace tetrad::text

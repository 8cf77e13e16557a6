#include "text/pre_tokenizer.h"

#include "text/byte_level.h"
#include "text/utf8.h"

#include <tetrad/base/error.h>

#include <utf8proc.h>

#include <algorithm>

namespace tetrad::text {
namespace {

// GPT-2's pattern, the one that ByteLevel applies with use_regex.
constexpr const char* kGpt2Pattern =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

enum class Behavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };

struct Cut {
  Span span;
  bool match = false;
};

// Every part of `text` in order: matches, and what lies between them. An empty match counts as a cut unless
// it touches the match before it.
std::vector<Cut> cut_by_regex(std::string_view text, Matcher& matcher) {
  std::vector<Cut> cuts;
  std::size_t done = 0;
  bool any = false;
  for (std::size_t from = 0; from <= text.size();) {
    const auto found = matcher.find(text, from);
    if (!found) break;
    if (found->begin == found->end && any && done == found->end) {
      if (from >= text.size()) break;
      from += decode_utf8(text, from).length;
      continue;
    }
    if (done != found->begin) cuts.push_back({{done, found->begin}, false});
    cuts.push_back({*found, true});
    any = true;
    done = from = found->end;
  }
  if (done != text.size()) cuts.push_back({{done, text.size()}, false});
  return cuts;
}

bool is_numeric(char32_t c) {
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  return category == UTF8PROC_CATEGORY_ND || category == UTF8PROC_CATEGORY_NL ||
         category == UTF8PROC_CATEGORY_NO;
}

std::vector<Cut> cut_by_digit(std::string_view text) {
  std::vector<Cut> cuts;
  std::size_t done = 0;
  for (std::size_t at = 0; at < text.size();) {
    const Utf8Char c = decode_utf8(text, at);
    if (is_numeric(c.code_point)) {
      if (done != at) cuts.push_back({{done, at}, false});
      cuts.push_back({{at, at + c.length}, true});
      done = at + c.length;
    }
    at += c.length;
  }
  if (done != text.size()) cuts.push_back({{done, text.size()}, false});
  return cuts;
}

// The pieces that a behaviour makes of the cuts; `offset` is where the text starts.
void append_pieces(std::vector<Span>& out, const std::vector<Cut>& cuts, Behavior behavior,
                   std::size_t offset) {
  const std::size_t first = out.size();
  const auto push = [&](const Span& s) { out.push_back({s.begin + offset, s.end + offset}); };
  for (std::size_t i = 0; i < cuts.size(); ++i) {
    const bool after_match = i > 0 && cuts[i - 1].match;
    switch (behavior) {
      case Behavior::isolated:
        push(cuts[i].span);
        break;
      case Behavior::removed:
        if (!cuts[i].match) push(cuts[i].span);
        break;
      case Behavior::contiguous:
        if (i > 0 && cuts[i].match == after_match) {
          out.back().end = cuts[i].span.end + offset;
        } else {
          push(cuts[i].span);
        }
        break;
      case Behavior::merged_with_previous:
        if (cuts[i].match && !after_match && out.size() > first) {
          out.back().end = cuts[i].span.end + offset;
        } else {
          push(cuts[i].span);
        }
        break;
      case Behavior::merged_with_next: {
        // Seen from the right: a match joins what follows it, unless that is itself a match.
        const bool joined = i > 0 && after_match && !cuts[i].match;
        if (joined) {
          out.back().end = cuts[i].span.end + offset;
        } else {
          push(cuts[i].span);
        }
        break;
      }
    }
  }
  const auto empty = [](const Span& s) { return s.begin == s.end; };
  out.erase(std::remove_if(out.begin() + static_cast<std::ptrdiff_t>(first), out.end(), empty), out.end());
}

class Nothing final : public PreTokenizer {
 public:
  void apply(Pieces&) const override {}
};

class Sequence final : public PreTokenizer {
 public:
  explicit Sequence(std::vector<std::unique_ptr<PreTokenizer>> steps) : steps_(std::move(steps)) {}
  void apply(Pieces& pieces) const override {
    for (const auto& step : steps_) step->apply(pieces);
  }

 private:
  std::vector<std::unique_ptr<PreTokenizer>> steps_;
};

class Split final : public PreTokenizer {
 public:
  Split(const std::string& pattern, Behavior behavior, bool invert)
      : regex_(pattern), behavior_(behavior), invert_(invert) {}

  void apply(Pieces& pieces) const override {
    Matcher matcher(regex_);
    std::vector<Span> spans;
    for (const Span& span : pieces.spans) {
      auto cuts = cut_by_regex(pieces.piece(span), matcher);
      if (invert_) {
        for (Cut& cut : cuts) cut.match = !cut.match;
      }
      append_pieces(spans, cuts, behavior_, span.begin);
    }
    pieces.spans = std::move(spans);
  }

 private:
  Regex regex_;
  Behavior behavior_;
  bool invert_;
};

class Digits final : public PreTokenizer {
 public:
  explicit Digits(bool individual) : individual_(individual) {}
  void apply(Pieces& pieces) const override {
    std::vector<Span> spans;
    for (const Span& span : pieces.spans) {
      append_pieces(spans, cut_by_digit(pieces.piece(span)),
                    individual_ ? Behavior::isolated : Behavior::contiguous, span.begin);
    }
    pieces.spans = std::move(spans);
  }

 private:
  bool individual_;
};

class ByteLevel final : public PreTokenizer {
 public:
  ByteLevel(bool add_prefix_space, bool use_regex) : add_prefix_space_(add_prefix_space) {
    if (use_regex)
      split_ = std::make_unique<Split>(translate_oniguruma(kGpt2Pattern), Behavior::isolated, false);
  }

  void apply(Pieces& pieces) const override {
    if (add_prefix_space_) prefix_spaces(pieces);
    if (split_) split_->apply(pieces);
    Pieces out;
    out.text.reserve(pieces.text.size() + pieces.text.size() / 4);
    out.spans.reserve(pieces.spans.size());
    for (const Span& span : pieces.spans) {
      const std::size_t begin = out.text.size();
      append_byte_level(out.text, pieces.piece(span));
      out.spans.push_back({begin, out.text.size()});
    }
    pieces = std::move(out);
  }

 private:
  static void prefix_spaces(Pieces& pieces) {
    Pieces out;
    for (const Span& span : pieces.spans) {
      const std::size_t begin = out.text.size();
      if (pieces.text[span.begin] != ' ') out.text += ' ';
      out.text += pieces.piece(span);
      out.spans.push_back({begin, out.text.size()});
    }
    pieces = std::move(out);
  }

  bool add_prefix_space_;
  std::unique_ptr<Split> split_;
};

Behavior behavior_of(const JsonView& json) {
  const std::string name = json.string();
  if (name == "Removed") return Behavior::removed;
  if (name == "Isolated") return Behavior::isolated;
  if (name == "MergedWithPrevious") return Behavior::merged_with_previous;
  if (name == "MergedWithNext") return Behavior::merged_with_next;
  if (name == "Contiguous") return Behavior::contiguous;
  json.fail("is '" + name +
            "'; supported: Removed, Isolated, MergedWithPrevious, MergedWithNext, Contiguous");
}

std::unique_ptr<PreTokenizer> make_split(const JsonView& json) {
  json.expect_keys({"type", "pattern", "behavior", "invert"});
  const JsonView pattern = json.at("pattern");
  pattern.expect_keys({"Regex", "String"});
  const bool literal = pattern.has("String");
  if (literal == pattern.has("Regex")) pattern.fail("must have one of 'Regex' and 'String'");
  const std::string text = pattern.at(literal ? "String" : "Regex").string();
  if (text.empty()) pattern.fail("is empty");
  const Behavior behavior = behavior_of(json.at("behavior"));
  const bool invert = json.boolean_or("invert", false);
  try {
    return std::make_unique<Split>(literal ? escape_regex(text) : translate_oniguruma(text), behavior,
                                   invert);
  } catch (const Error& e) {
    pattern.fail(std::string("cannot be used: ") + e.what());
  }
}

}  // namespace

std::unique_ptr<PreTokenizer> make_pre_tokenizer(const JsonView& json) {
  if (json.is_null()) return std::make_unique<Nothing>();
  const std::string type = json.at("type").string();
  if (type == "ByteLevel") {
    json.expect_keys({"type", "add_prefix_space", "trim_offsets", "use_regex"});
    return std::make_unique<ByteLevel>(json.at("add_prefix_space").boolean(),
                                       json.boolean_or("use_regex", true));
  }
  if (type == "Split") return make_split(json);
  if (type == "Digits") {
    json.expect_keys({"type", "individual_digits"});
    return std::make_unique<Digits>(json.boolean_or("individual_digits", false));
  }
  if (type == "Sequence") {
    json.expect_keys({"type", "pretokenizers"});
    const JsonView list = json.at("pretokenizers");
    std::vector<std::unique_ptr<PreTokenizer>> steps;
    for (std::size_t i = 0; i < list.array_size(); ++i) steps.push_back(make_pre_tokenizer(list.at(i)));
    return std::make_unique<Sequence>(std::move(steps));
  }
  json.at("type").fail("is '" + type + "'; supported pre-tokenizers: ByteLevel, Split, Digits, Sequence");
}

bool is_byte_level(const JsonView& json) {
  if (json.is_null()) return false;
  if (json.at("type").string() == "ByteLevel") return true;
  if (!json.has("pretokenizers")) return false;
  const JsonView list = json.at("pretokenizers");
  for (std::size_t i = 0; i < list.array_size(); ++i) {
    if (is_byte_level(list.at(i))) return true;
  }
  return false;
}

}  // namespace tetrad::text

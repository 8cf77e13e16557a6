#include "text/added_tokens.h"

#include "text/utf8.h"

#include <algorithm>

namespace tetrad::text {
namespace {

bool is_space(char32_t c) {  // Unicode White_Space
  return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

// A word character as Rust's regex crate defines \w, which is what Hugging Face's single_word uses.
bool is_word(char32_t c) {
  static const Regex regex("[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{200c}\\x{200d}]");
  std::string one;
  append_utf8(one, c);
  return Matcher(regex).find(one, 0).has_value();
}

// Start of the character that ends right before `end` (end > 0, valid UTF-8).
std::size_t character_before(std::string_view text, std::size_t end) {
  std::size_t at = end - 1;
  while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
  return at;
}

bool stands_alone(std::string_view text, const Span& span) {
  const bool before =
      span.begin == 0 || !is_word(decode_utf8(text, character_before(text, span.begin)).code_point);
  const bool after = span.end == text.size() || !is_word(decode_utf8(text, span.end).code_point);
  return before && after;
}

AddedToken read_token(const JsonView& json) {
  json.expect_keys({"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"});
  AddedToken token;
  token.id = static_cast<std::int32_t>(json.at("id").integer(0, 100'000'000));
  token.content = json.at("content").string();
  if (token.content.empty()) json.at("content").fail("is empty");
  token.single_word = json.boolean_or("single_word", false);
  token.lstrip = json.boolean_or("lstrip", false);
  token.rstrip = json.boolean_or("rstrip", false);
  token.special = json.boolean_or("special", false);
  token.normalized = json.boolean_or("normalized", !token.special);
  return token;
}

}  // namespace

void AddedTokens::Trie::insert(std::string_view word, std::int32_t token) {
  if (nodes.empty()) first.fill(-1);
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(word[i]); };
  if (first[byte(0)] < 0) {
    first[byte(0)] = static_cast<std::int32_t>(nodes.size());
    nodes.emplace_back();
  }
  auto node = static_cast<std::size_t>(first[byte(0)]);
  for (std::size_t i = 1; i < word.size(); ++i) {
    auto& next = nodes[node].next;
    const auto found =
        std::find_if(next.begin(), next.end(), [&](const auto& edge) { return edge.first == byte(i); });
    if (found != next.end()) {
      node = static_cast<std::size_t>(found->second);
    } else {
      next.emplace_back(byte(i), static_cast<std::int32_t>(nodes.size()));
      node = nodes.size();
      nodes.emplace_back();
    }
  }
  if (nodes[node].token < 0)
    nodes[node].token = token;  // two that normalize to the same text: the first counts
}

std::pair<std::int32_t, std::size_t> AddedTokens::Trie::longest(std::string_view text, std::size_t at) const {
  std::pair<std::int32_t, std::size_t> best{-1, 0};
  std::int32_t node = first[static_cast<unsigned char>(text[at])];
  for (std::size_t i = at + 1; node >= 0; ++i) {
    const Node& here = nodes[static_cast<std::size_t>(node)];
    if (here.token >= 0) best = {here.token, i - at};
    if (i >= text.size()) break;
    const auto byte = static_cast<unsigned char>(text[i]);
    const auto edge =
        std::find_if(here.next.begin(), here.next.end(), [&](const auto& e) { return e.first == byte; });
    node = edge == here.next.end() ? -1 : edge->second;
  }
  return best;
}

AddedTokens::AddedTokens(const JsonView& json, const Bpe& model, const Normalizer& normalizer) {
  if (json.is_null()) return;
  TokenIds seen;
  std::unordered_map<std::int32_t, std::string> owner;
  std::int32_t next_id = static_cast<std::int32_t>(model.ids().size());
  for (std::size_t i = 0; i < json.array_size(); ++i) {
    const JsonView entry = json.at(i);
    AddedToken token = read_token(entry);
    const std::string name = "'" + token.content + "'";
    if (!seen.emplace(token.content, token.id).second) entry.fail("repeats the token " + name);
    if (!owner.emplace(token.id, token.content).second) {
      entry.fail("gives " + name + " the id " + std::to_string(token.id) + " of '" + owner[token.id] + "'");
    }
    const auto known = model.ids().find(token.content);
    const std::int32_t expected = known != model.ids().end() ? known->second : next_id;
    if (token.id != expected) {
      entry.fail("gives " + name + " the id " + std::to_string(token.id) + ", but " +
                 (known != model.ids().end() ? "model.vocab says " : "the next free id is ") +
                 std::to_string(expected));
    }
    if (known == model.ids().end()) ++next_id;
    token.form = token.normalized ? normalizer.apply(token.content) : token.content;
    tokens_.push_back(std::move(token));
  }
  // Special tokens come first, so that they win where two tokens normalize to the same text.
  for (const bool special : {true, false}) {
    for (std::size_t i = 0; i < tokens_.size(); ++i) {
      const AddedToken& token = tokens_[i];
      if (token.special != special) continue;
      tries_[token.normalized].insert(token.form, static_cast<std::int32_t>(i));
    }
  }
}

std::vector<Part> AddedTokens::split(std::string_view text, bool normalized, bool parse_special) const {
  std::vector<Part> parts;
  const Trie& trie = tries_[normalized];
  std::size_t done = 0;
  for (std::size_t at = 0; at < text.size() && !trie.nodes.empty();) {
    const auto [index, length] = trie.longest(text, at);
    if (index < 0) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_[static_cast<std::size_t>(index)];
    Span span{at, at + length};
    at = span.end;  // a match that is passed over below still uses up its text
    if (token.special && !parse_special) continue;
    if (token.single_word && !stands_alone(text, span)) continue;
    if (token.lstrip) {
      while (span.begin > done) {
        const std::size_t before = character_before(text, span.begin);
        if (before < done || !is_space(decode_utf8(text, before).code_point)) break;
        span.begin = before;
      }
    }
    if (token.rstrip) {
      while (span.end < text.size()) {
        const Utf8Char c = decode_utf8(text, span.end);
        if (!is_space(c.code_point)) break;
        span.end += c.length;
      }
    }
    if (done < span.begin) parts.push_back({-1, {done, span.begin}});
    parts.push_back({token.id, span});
    done = span.end;
  }
  if (done != text.size()) parts.push_back({-1, {done, text.size()}});
  return parts;
}

}  // namespace tetrad::text

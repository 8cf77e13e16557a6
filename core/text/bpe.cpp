#include "text/bpe.h"

#include "text/utf8.h"

#include <algorithm>
#include <bit>
#include <queue>

namespace tetrad::text {
namespace {

constexpr std::int64_t kMaxId = 100'000'000;  // ids index arrays; a larger one is a broken file

std::uint64_t pair_key(std::int32_t left, std::int32_t right) noexcept {
  return (static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32) |
         static_cast<std::uint32_t>(right);
}

struct Candidate {
  std::int32_t rank;
  std::int32_t at;
  std::int32_t id;
  // std::priority_queue gives the largest: lowest rank first, then leftmost.
  bool operator<(const Candidate& other) const noexcept {
    return rank != other.rank ? rank > other.rank : at > other.at;
  }
};

}  // namespace

MergeTable::MergeTable(std::size_t count)
    : slots_(std::bit_ceil(std::max<std::size_t>(16, count * 2))), mask_(slots_.size() - 1) {}

std::size_t MergeTable::slot_of(std::uint64_t key) const noexcept {
  std::uint64_t h = key * 0x9E3779B97F4A7C15ull;
  h ^= h >> 32;
  std::size_t at = static_cast<std::size_t>(h) & mask_;
  while (slots_[at].merge.rank >= 0 && slots_[at].key != key) at = (at + 1) & mask_;
  return at;
}

void MergeTable::insert(std::int32_t left, std::int32_t right, Merge merge) {
  const std::uint64_t key = pair_key(left, right);
  slots_[slot_of(key)] = {key, merge};
}

const MergeTable::Merge* MergeTable::find(std::int32_t left, std::int32_t right) const noexcept {
  const Slot& slot = slots_[slot_of(pair_key(left, right))];
  return slot.merge.rank >= 0 ? &slot.merge : nullptr;
}

Bpe::Bpe(const JsonView& model, bool byte_level) {
  model.expect_object();
  if (model.has("type") && model.at("type").string() != "BPE") {
    model.at("type").fail("is '" + model.at("type").string() + "'; only BPE is supported");
  }
  model.expect_keys({"type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix",
                     "fuse_unk", "byte_fallback", "ignore_merges", "vocab", "merges"});
  const JsonView dropout = model.get("dropout");
  if (!dropout.is_null() && !(dropout.value().is_number() && dropout.value().get<double>() == 0.0)) {
    dropout.fail("is " + dropout.value().dump() + "; BPE dropout makes encoding random and is not supported");
  }
  for (const char* affix : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    const JsonView field = model.get(affix);
    if (!field.is_null() && !field.string().empty())
      field.fail("is '" + field.string() + "'; only empty is supported");
  }
  if (model.boolean_or("byte_fallback", false)) {
    model.at("byte_fallback").fail("is true; only byte-level vocabularies are supported");
  }
  if (!byte_level) model.fail("is used without a ByteLevel pre-tokenizer; only byte-level BPE is supported");
  fuse_unknown_ = model.boolean_or("fuse_unk", false);
  ignore_merges_ = model.boolean_or("ignore_merges", false);

  read_vocab(model.at("vocab"));
  read_merges(model.at("merges"));
  if (const JsonView unknown = model.get("unk_token"); !unknown.is_null()) {
    const auto found = ids_.find(unknown.string());
    if (found == ids_.end()) unknown.fail("is '" + unknown.string() + "', which is not in model.vocab");
    unknown_ = found->second;
  }
}

void Bpe::read_vocab(const JsonView& vocab) {
  vocab.expect_object();
  if (vocab.value().empty()) vocab.fail("is empty");
  ids_.reserve(vocab.value().size() * 2);
  for (const auto& [token, id] : vocab.value().items()) {
    if (!id.is_number_integer() || id.get<std::int64_t>() < 0 || id.get<std::int64_t>() > kMaxId) {
      vocab.fail("gives '" + token + "' the id " + id.dump() + "; an id is an integer in 0.." +
                 std::to_string(kMaxId));
    }
    const auto number = id.get<std::int32_t>();
    ids_.emplace(token, number);
    max_id_ = std::max(max_id_, number);
  }
  // Ids index tables of this size, so that a small file must not claim a huge range.
  if (static_cast<std::size_t>(max_id_) > 8 * ids_.size() + 65536) {
    vocab.fail("has " + std::to_string(ids_.size()) + " tokens but an id of " + std::to_string(max_id_));
  }
  std::vector<const std::string*> owner(static_cast<std::size_t>(max_id_) + 1, nullptr);
  char_ids_.assign(0x200, -1);
  for (const auto& [token, id] : ids_) {
    auto& slot = owner[static_cast<std::size_t>(id)];
    if (slot != nullptr) {
      vocab.fail("gives the id " + std::to_string(id) + " to both '" + std::min(*slot, token) + "' and '" +
                 std::max(*slot, token) + "'");
    }
    slot = &token;
    if (token.empty()) continue;
    const Utf8Char c = decode_utf8(token, 0);
    if (c.length == token.size() && c.code_point < char_ids_.size()) char_ids_[c.code_point] = id;
  }
}

void Bpe::read_merges(const JsonView& merges) {
  const std::size_t count = merges.array_size();
  merges_ = MergeTable(count);
  std::int32_t rank = 0;
  std::string merged;
  for (std::size_t i = 0; i < count; ++i) {
    const auto& entry = merges.value()[i];
    std::string_view left, right;
    if (entry.is_string()) {
      const std::string& line = entry.get_ref<const std::string&>();
      if (line.starts_with("#version")) continue;
      const std::size_t space = line.find(' ');
      if (space == std::string::npos || line.find(' ', space + 1) != std::string::npos) {
        merges.at(i).fail("is '" + line + "'; a merge is two tokens with one space between them");
      }
      left = std::string_view(line).substr(0, space);
      right = std::string_view(line).substr(space + 1);
    } else if (entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_string()) {
      left = entry[0].get_ref<const std::string&>();
      right = entry[1].get_ref<const std::string&>();
    } else {
      merges.at(i).fail("is " + entry.dump().substr(0, 80) + "; a merge is \"a b\" or [\"a\", \"b\"]");
    }
    merged.assign(left).append(right);
    const auto id_of = [&](std::string_view token) {
      const auto found = ids_.find(token);
      if (found == ids_.end())
        merges.at(i).fail("names '" + std::string(token) + "', which is not in model.vocab");
      return found->second;
    };
    const std::int32_t left_id = id_of(left), right_id = id_of(right);
    merges_.insert(left_id, right_id, {rank++, id_of(merged)});
  }
}

void Bpe::symbols_of(std::string_view piece, std::vector<Symbol>& out) const {
  bool unknown_open = false;  // with fuse_unk a run of unknown characters is one symbol
  const auto push = [&](std::int32_t id) {
    const auto at = static_cast<std::int32_t>(out.size());
    if (at > 0) out.back().next = at;
    out.push_back({id, at - 1, -1, true});
  };
  for (std::size_t at = 0; at < piece.size();) {
    const Utf8Char c = decode_utf8(piece, at);
    std::int32_t id = -1;
    if (c.code_point < char_ids_.size()) {
      id = char_ids_[c.code_point];
    } else if (const auto found = ids_.find(piece.substr(at, c.length)); found != ids_.end()) {
      id = found->second;
    }
    at += c.length;
    if (id >= 0) {
      push(id);
      unknown_open = false;
    } else if (unknown_) {
      if (!(fuse_unknown_ && unknown_open)) push(*unknown_);
      unknown_open = true;
    }
  }
}

void Bpe::merge(std::vector<Symbol>& symbols) const {
  std::vector<Candidate> storage;
  storage.reserve(symbols.size());
  const auto consider = [&](std::int32_t left, auto&& accept) {
    const Symbol& l = symbols[static_cast<std::size_t>(left)];
    if (l.next < 0) return;
    const auto* found = merges_.find(l.id, symbols[static_cast<std::size_t>(l.next)].id);
    if (found != nullptr) accept(Candidate{found->rank, left, found->id});
  };
  for (std::size_t i = 0; i + 1 < symbols.size(); ++i) {
    consider(static_cast<std::int32_t>(i), [&](const Candidate& c) { storage.push_back(c); });
  }
  std::priority_queue<Candidate> queue(std::less<Candidate>{}, std::move(storage));
  const auto enqueue = [&](const Candidate& c) { queue.push(c); };
  while (!queue.empty()) {
    const Candidate top = queue.top();
    queue.pop();
    Symbol& left = symbols[static_cast<std::size_t>(top.at)];
    if (!left.alive || left.next < 0) continue;
    Symbol& right = symbols[static_cast<std::size_t>(left.next)];
    // The neighbours may have changed since the candidate was queued; it counts if the pair still gives its
    // token.
    const auto* current = merges_.find(left.id, right.id);
    if (current == nullptr || current->id != top.id) continue;
    left.id = top.id;
    left.next = right.next;
    right.alive = false;
    if (left.next >= 0) symbols[static_cast<std::size_t>(left.next)].previous = top.at;
    if (left.previous >= 0) consider(left.previous, enqueue);
    consider(top.at, enqueue);
  }
}

void Bpe::encode(std::string_view piece, std::vector<std::int32_t>& out) const {
  if (piece.empty()) return;
  if (ignore_merges_) {
    if (const auto whole = ids_.find(piece); whole != ids_.end()) {
      out.push_back(whole->second);
      return;
    }
  }
  std::vector<Symbol> symbols;
  symbols.reserve(piece.size());
  symbols_of(piece, symbols);
  merge(symbols);
  for (const Symbol& symbol : symbols) {
    if (symbol.alive) out.push_back(symbol.id);
  }
}

}  // namespace tetrad::text

// Byte-pair encoding: the "model" of tokenizer.json (type BPE). Holds the vocabulary and the ranked merges
// and cuts one piece of text into token ids, step for step as Hugging Face's BPE does, ties included. A piece
// of n characters takes n log n time whatever it contains. Immutable after construction; encode() may run on
// several threads.
#pragma once

#include "text/json_view.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace tetrad::text {

struct StringHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view s) const noexcept { return std::hash<std::string_view>{}(s); }
};
using TokenIds = std::unordered_map<std::string, std::int32_t, StringHash, std::equal_to<>>;

// (left id, right id) -> (rank, merged id); open addressing, because a look-up happens per character.
class MergeTable {
 public:
  struct Merge {
    std::int32_t rank = -1;
    std::int32_t id = -1;
  };
  explicit MergeTable(std::size_t count);
  void insert(std::int32_t left, std::int32_t right, Merge merge);  // a repeated pair takes the later rank
  const Merge* find(std::int32_t left, std::int32_t right) const noexcept;

 private:
  struct Slot {
    std::uint64_t key = ~0ull;
    Merge merge;
  };
  std::size_t slot_of(std::uint64_t key) const noexcept;

  std::vector<Slot> slots_;
  std::size_t mask_;
};

class Bpe {
 public:
  // The "model" object; `byte_level` says whether pieces come in the byte-level alphabet. Throws Error naming
  // the field.
  Bpe(const JsonView& model, bool byte_level);

  // Appends the ids of one piece. A character outside the vocabulary becomes unk_token, or nothing without
  // one: this is what Hugging Face does, and byte-level vocabularies that lack bytes exist.
  void encode(std::string_view piece, std::vector<std::int32_t>& out) const;

  const TokenIds& ids() const noexcept { return ids_; }
  std::int32_t max_id() const noexcept { return max_id_; }

 private:
  struct Symbol {
    std::int32_t id;
    std::int32_t previous, next;  // -1 at the ends
    bool alive;
  };

  void read_vocab(const JsonView& vocab);
  void read_merges(const JsonView& merges);
  void symbols_of(std::string_view piece, std::vector<Symbol>& out) const;
  void merge(std::vector<Symbol>& symbols) const;

  TokenIds ids_;
  std::int32_t max_id_ = -1;
  MergeTable merges_{0};
  std::vector<std::int32_t> char_ids_;  // by code point below 0x200: the byte-level alphabet without hashing
  std::optional<std::int32_t> unknown_;
  bool fuse_unknown_ = false;
  bool ignore_merges_ = false;
};

}  // namespace tetrad::text

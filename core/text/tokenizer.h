// Byte-level BPE tokenizer of a Hugging Face model directory (tokenizer.json), exact against Hugging Face's
// `tokenizers`: text -> ids -> bytes. A construct of tokenizer.json that is not known here is an Error that
// names it. Truncation and padding settings in the file are ignored, as transformers does. A Tokenizer is an
// immutable value: copies share their tables, and every member may be called from several threads.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tetrad::text {

class Tokenizer {
 public:
  // Reads <model_dir>/tokenizer.json. Throws Error (runtime) naming file and field.
  static Tokenizer load(const std::filesystem::path& model_dir);
  // The same from the text of a tokenizer.json; `name` stands in for the file in errors.
  static Tokenizer parse(std::string_view json, const std::string& name);

  // Ids of `utf8`. parse_special: special tokens spelled in the text become their ids (Hugging Face's
  // behaviour); false encodes them as plain text. add_special: apply the file's post-processor (e.g. a BOS
  // token); off for text that a chat template rendered. Throws Error (usage) when the text is not valid
  // UTF-8.
  std::vector<std::int32_t> encode(std::string_view utf8, bool parse_special = true,
                                   bool add_special = false) const;

  // The exact bytes that the ids stand for; they may end inside a character (see incremental_decoder.h) and
  // need not be UTF-8 at all (lossy_utf8() for display). Ids below vocab_size() without a token stand for
  // nothing, as in Hugging Face. Throws Error when an id is outside 0..INT32_MAX.
  std::string decode(std::span<const std::int32_t> ids, bool skip_special = false) const;
  // Bytes of one token.
  std::string token_bytes(std::int32_t id) const;

  // One more than the highest id. A model's embedding may have more rows (padding), never fewer.
  std::int32_t vocab_size() const noexcept;
  std::optional<std::int32_t> token_to_id(std::string_view token) const;
  // The token's spelling in tokenizer.json (byte-level alphabet); nothing for an id without a token.
  std::optional<std::string> id_to_token(std::int32_t id) const;
  bool is_special(std::int32_t id) const noexcept;
  // Ids of all added tokens, special or not, ascending.
  std::vector<std::int32_t> added_ids() const;

  // sha256 (hex) of tokenizer.json: part of the identity of anything that stores token ids.
  const std::string& identity() const noexcept;

 private:
  struct Tables;
  explicit Tokenizer(std::shared_ptr<const Tables> tables) : tables_(std::move(tables)) {}
  std::shared_ptr<const Tables> tables_;
};

}  // namespace tetrad::text

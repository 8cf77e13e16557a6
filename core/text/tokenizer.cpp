#include "text/tokenizer.h"

#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/byte_level.h"
#include "text/normalizer.h"
#include "text/post_processor.h"
#include "text/pre_tokenizer.h"
#include "text/utf8.h"

#include <tetrad/base/error.h>
#include <tetrad/base/sha256.h>

#include <algorithm>

namespace tetrad::text {
namespace {

constexpr std::size_t kMaxFileBytes = std::size_t{256} << 20;

void check_decoder(const JsonView& json) {
  if (json.is_null()) json.fail("is null; only ByteLevel is supported");
  const std::string type = json.at("type").string();
  if (type == "ByteLevel") return json.expect_keys({"type", "add_prefix_space", "trim_offsets", "use_regex"});
  if (type == "Sequence") {
    json.expect_keys({"type", "decoders"});
    const JsonView list = json.at("decoders");
    if (list.array_size() != 1) list.fail("must hold one ByteLevel");
    return check_decoder(list.at(std::size_t{0}));
  }
  json.at("type").fail("is '" + type + "'; supported decoders: ByteLevel");
}

}  // namespace

struct Tokenizer::Tables {
  Tables(const JsonView& document, std::string hash)
      : identity(std::move(hash)),
        normalizer(document.get("normalizer")),
        pre_tokenizer(make_pre_tokenizer(document.get("pre_tokenizer"))),
        model(document.at("model"), is_byte_level(document.get("pre_tokenizer"))),
        added(document.get("added_tokens"), model, normalizer) {
    std::int32_t highest = model.max_id();
    for (const AddedToken& token : added.tokens()) highest = std::max(highest, token.id);
    tokens.resize(static_cast<std::size_t>(highest) + 1);
    special.resize(tokens.size(), false);
    for (const auto& [token, id] : model.ids()) tokens[static_cast<std::size_t>(id)] = token;
    for (const AddedToken& token : added.tokens()) {
      tokens[static_cast<std::size_t>(token.id)] = token.form;
      special[static_cast<std::size_t>(token.id)] = token.special;
      added_ids.emplace(token.content, token.id);
    }
    post = PostProcessor::parse(document.get("post_processor"),
                                [this](std::string_view token) { return id_of(token); });
    check_decoder(document.get("decoder"));
  }

  std::optional<std::int32_t> id_of(std::string_view token) const {
    if (const auto found = added_ids.find(token); found != added_ids.end()) return found->second;
    if (const auto found = model.ids().find(token); found != model.ids().end()) return found->second;
    return std::nullopt;
  }

  // Ids of text without added tokens.
  void encode_plain(std::string text, std::vector<std::int32_t>& out) const {
    if (text.empty()) return;
    Pieces pieces;
    pieces.spans.push_back({0, text.size()});
    pieces.text = std::move(text);
    pre_tokenizer->apply(pieces);
    // Words repeat: where a piece was seen before in this text, its ids are copied from the first place.
    std::unordered_map<std::string_view, Span> seen;
    for (const Span& span : pieces.spans) {
      const std::string_view piece = pieces.piece(span);
      const std::size_t start = out.size();
      const auto [entry, fresh] = seen.try_emplace(piece, Span{});
      if (fresh) {
        model.encode(piece, out);
        entry->second = {start, out.size()};
      } else {
        for (std::size_t i = entry->second.begin; i < entry->second.end; ++i) {
          const std::int32_t id = out[i];
          out.push_back(id);
        }
      }
    }
  }

  std::string identity;
  Normalizer normalizer;
  std::unique_ptr<PreTokenizer> pre_tokenizer;
  Bpe model;
  AddedTokens added;
  std::vector<std::string_view> tokens;  // by id; they point into model and added
  std::vector<bool> special;
  TokenIds added_ids;
  PostProcessor post;
};

namespace {

void check_document(const JsonView& document) {
  document.expect_keys({"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer",
                        "post_processor", "decoder", "model"});
  if (document.has("version") && document.at("version").string() != "1.0") {
    document.at("version").fail("is '" + document.at("version").string() + "'; only 1.0 is known");
  }
}

}  // namespace

Tokenizer Tokenizer::load(const std::filesystem::path& model_dir) {
  const auto file = model_dir / "tokenizer.json";
  std::string bytes;
  const nlohmann::json json = read_json_file(file, kMaxFileBytes, &bytes);
  const JsonView document(json, file.string());
  check_document(document);
  return Tokenizer(std::make_shared<const Tables>(document, sha256_hex(bytes)));
}

Tokenizer Tokenizer::parse(std::string_view text, const std::string& name) {
  const nlohmann::json json = parse_json(text, name);
  const JsonView document(json, name);
  check_document(document);
  return Tokenizer(std::make_shared<const Tables>(document, sha256_hex(text)));
}

std::vector<std::int32_t> Tokenizer::encode(std::string_view utf8, bool parse_special,
                                            bool add_special) const {
  require_utf8(utf8, "prompt");
  const Tables& t = *tables_;
  std::vector<std::int32_t> out;
  if (add_special) out = t.post.before;
  for (const Part& part : t.added.split(utf8, false, parse_special)) {
    if (part.id >= 0) {
      out.push_back(part.id);
      continue;
    }
    std::string text = t.normalizer.apply(utf8.substr(part.span.begin, part.span.end - part.span.begin));
    if (!t.added.any_normalized()) {
      t.encode_plain(std::move(text), out);
      continue;
    }
    for (const Part& inner : t.added.split(text, true, parse_special)) {
      if (inner.id >= 0) {
        out.push_back(inner.id);
      } else {
        t.encode_plain(text.substr(inner.span.begin, inner.span.end - inner.span.begin), out);
      }
    }
  }
  if (add_special) out.insert(out.end(), t.post.after.begin(), t.post.after.end());
  return out;
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids, bool skip_special) const {
  std::string out;
  for (const std::int32_t id : ids) {
    if (!(skip_special && is_special(id))) out += token_bytes(id);
  }
  return out;
}

std::string Tokenizer::token_bytes(std::int32_t id) const {
  if (id < 0) throw Error("[text] token id " + std::to_string(id) + " is negative");
  if (id >= vocab_size()) return {};
  return byte_level_to_bytes(tables_->tokens[static_cast<std::size_t>(id)]);
}

std::int32_t Tokenizer::vocab_size() const noexcept {
  return static_cast<std::int32_t>(tables_->tokens.size());
}

std::optional<std::int32_t> Tokenizer::token_to_id(std::string_view token) const {
  return tables_->id_of(token);
}

std::optional<std::string> Tokenizer::id_to_token(std::int32_t id) const {
  if (id < 0 || id >= vocab_size() || tables_->tokens[static_cast<std::size_t>(id)].data() == nullptr)
    return std::nullopt;
  return std::string(tables_->tokens[static_cast<std::size_t>(id)]);
}

bool Tokenizer::is_special(std::int32_t id) const noexcept {
  return id >= 0 && id < vocab_size() && tables_->special[static_cast<std::size_t>(id)];
}

std::vector<std::int32_t> Tokenizer::added_ids() const {
  std::vector<std::int32_t> ids;
  for (const AddedToken& token : tables_->added.tokens()) ids.push_back(token.id);
  std::sort(ids.begin(), ids.end());
  return ids;
}

const std::string& Tokenizer::identity() const noexcept {
  return tables_->identity;
}

}  // namespace tetrad::text

// The script: the tokens that every arm of a comparison scores, whatever it would have said itself, so that
// one early difference does not hide the rest. Made by the reference arm from its own conversation, or from a
// fixed answer; stored as script.json (files.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

namespace tetrad::text {
class Tokenizer;
class TurnFormat;
}  // namespace tetrad::text

namespace tetrad::parity {

// ids [begin, end) of a script. Segments follow each other without gaps; one may be empty.
struct Segment {
  enum class Kind : std::uint8_t { prompt, answer, close };
  Kind kind = Kind::prompt;
  std::int64_t turn = 1;
  std::int64_t begin = 0, end = 0;

  bool operator==(const Segment&) const = default;
};

struct Script {
  std::vector<std::int32_t> ids;
  std::vector<Segment> segments;
  std::string tokenizer_sha256;  // empty: unknown (a script from another engine's logits)
  std::int64_t vocab_size = 0;   // rows of the model's embedding
  std::string made_by;

  // Adds ids as one segment.
  void add(Segment::Kind kind, std::int64_t turn, const std::vector<std::int32_t>& more);
  // The position whose logits choose the first token of the first answer.
  std::int64_t first_answer_position() const;
  // Of the ids in decimal, joined by ",".
  std::string sha256() const;

  nlohmann::json to_json(const text::Tokenizer& tokenizer) const;
  // `where` names it in errors. Throws Error(usage) for anything that is not a script.
  static Script parse(const nlohmann::json& json, const std::string& where);
  static Script load(const std::filesystem::path& file);
};

// The conversation in which `answer` is what the model says in each turn. Throws Error(usage) for an answer
// without tokens.
Script fixed_script(const text::TurnFormat& turns, const text::Tokenizer& tokenizer,
                    const std::optional<std::string>& system, const std::vector<std::string>& prompts,
                    const std::string& answer);

}  // namespace tetrad::parity

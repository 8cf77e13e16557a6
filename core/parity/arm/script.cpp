#include "parity/arm/script.h"

#include "io/json.h"
#include "parity/arm/pieces.h"
#include "parity/files.h"
#include "text/tokenizer.h"
#include "text/turn_format.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <tetrad/base/error.h>
#include <tetrad/base/sha256.h>
#include <nlohmann/json.hpp>

#include <fstream>

namespace tetrad::parity {
namespace {

constexpr const char* kKinds[] = {"prompt", "answer", "close"};

[[noreturn]] void refuse(const std::string& where, const std::string& what) {
  throw Error(ExitCode::usage,
              fmt::format("[parity] {}: {}; make it anew with the reference arm", where, what));
}

Segment::Kind kind_of(const std::string& name, const std::string& where) {
  for (int i = 0; i < 3; ++i)
    if (name == kKinds[i]) return static_cast<Segment::Kind>(i);
  refuse(where, fmt::format("segment kind '{}' is none of prompt, answer, close", name));
}

// What the fields alone do not say: ids in range, segments that cover them.
void check(const Script& script, const std::string& where) {
  if (script.ids.size() < 2) refuse(where, "a script needs two ids at least");
  for (const std::int32_t id : script.ids)
    if (id < 0) refuse(where, fmt::format("id {} is negative", id));
  std::int64_t at = 0;
  for (const Segment& part : script.segments) {
    if (part.begin != at || part.end < part.begin || part.turn < 1)
      refuse(where, fmt::format("segment [{}, {}) of turn {} does not follow position {}", part.begin,
                                part.end, part.turn, at));
    at = part.end;
  }
  if (at != static_cast<std::int64_t>(script.ids.size()))
    refuse(where, fmt::format("its segments cover {} of {} ids", at, script.ids.size()));
}

}  // namespace

void Script::add(Segment::Kind kind, std::int64_t turn, const std::vector<std::int32_t>& more) {
  const auto begin = static_cast<std::int64_t>(ids.size());
  ids.insert(ids.end(), more.begin(), more.end());
  segments.push_back({kind, turn, begin, static_cast<std::int64_t>(ids.size())});
}

std::int64_t Script::first_answer_position() const {
  for (const Segment& part : segments)
    if (part.kind == Segment::Kind::answer && part.begin > 0) return part.begin - 1;
  return static_cast<std::int64_t>(ids.size()) - 1;
}

std::string Script::sha256() const {
  return sha256_hex(fmt::format("{}", fmt::join(ids, ",")));
}

nlohmann::json Script::to_json(const text::Tokenizer& tokenizer) const {
  nlohmann::json parts = nlohmann::json::array();
  for (const Segment& part : segments)
    parts.push_back({{"kind", kKinds[static_cast<int>(part.kind)]},
                     {"turn", part.turn},
                     {"begin", part.begin},
                     {"end", part.end}});
  return {{"format", script_format},
          {"version", format_version},
          {"ids", ids},
          {"segments", std::move(parts)},
          {"text_pieces", token_pieces(tokenizer, ids)},
          {"tokenizer_sha256", tokenizer_sha256},
          {"vocab_size", vocab_size},
          {"sha256", sha256()},
          {"made_by", made_by}};
}

Script Script::parse(const nlohmann::json& json, const std::string& where) {
  try {
    if (json.at("format") != script_format) refuse(where, "it is no parity script");
    if (json.at("version") != format_version)
      refuse(where, fmt::format("version {} is not known", json.at("version").dump()));
    Script script;
    script.ids = json.at("ids").get<std::vector<std::int32_t>>();
    for (const nlohmann::json& part : json.at("segments"))
      script.segments.push_back({kind_of(part.at("kind").get<std::string>(), where),
                                 part.at("turn").get<std::int64_t>(), part.at("begin").get<std::int64_t>(),
                                 part.at("end").get<std::int64_t>()});
    const auto optional_text = [&](const char* key) {
      return json.contains(key) && json.at(key).is_string() ? json.at(key).get<std::string>() : std::string();
    };
    script.tokenizer_sha256 = optional_text("tokenizer_sha256");
    script.made_by = optional_text("made_by");
    script.vocab_size = json.at("vocab_size").get<std::int64_t>();
    check(script, where);
    return script;
  } catch (const nlohmann::json::exception& e) {
    refuse(where, fmt::format("not a parity script ({})", e.what()));
  }
}

Script Script::load(const std::filesystem::path& file) {
  if (!std::ifstream(file))
    throw Error(ExitCode::usage, fmt::format("[parity] cannot read the script '{}'", file.string()));
  nlohmann::json json;
  try {
    json = io::read_json(file, {std::size_t{256} << 20, 64, std::size_t{16} << 20});
  } catch (const Error& error) {
    refuse(file.string(), fmt::format("it is cut short or no JSON ({})", error.what()));
  }
  return parse(json, file.string());
}

Script fixed_script(const text::TurnFormat& turns, const text::Tokenizer& tokenizer,
                    const std::optional<std::string>& system, const std::vector<std::string>& prompts,
                    const std::string& answer) {
  const std::vector<std::int32_t> said = tokenizer.encode(answer, /*parse_special=*/false);
  if (said.empty()) throw Error(ExitCode::usage, "[parity] parity.continuation has no tokens");
  Script script;
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    const auto turn = static_cast<std::int64_t>(i) + 1;
    script.add(Segment::Kind::prompt, turn,
               (i == 0 ? turns.first(system, prompts[i]) : turns.next(prompts[i])).ids);
    script.add(Segment::Kind::answer, turn, said);
    script.add(Segment::Kind::close, turn, turns.close_ids());
  }
  return script;
}

}  // namespace tetrad::parity

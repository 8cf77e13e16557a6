#include "cli/chat/saved_chat.h"

#include "io/atomic_file.h"
#include "io/json.h"
#include "sdk/base/printable.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>
#include <nlohmann/json.hpp>

#include <array>

namespace tetrad::cli {

using nlohmann::json;

namespace {

constexpr const char* format_name = "tetrad-chat";
constexpr int format_version = 1;

struct IdentityField {
  const char* name;
  std::string ChatIdentity::*value;
};
constexpr std::array identity_fields = {
    IdentityField{"model_config_sha256", &ChatIdentity::model},
    IdentityField{"tokenizer_sha256", &ChatIdentity::tokenizer},
    IdentityField{"chat_template_sha256", &ChatIdentity::chat_template},
    IdentityField{"weights", &ChatIdentity::weights},
};

class Reader {
 public:
  explicit Reader(const std::filesystem::path& file) : file_(file) {}

  [[noreturn]] void refuse(const std::string& what) const {
    throw Error(ExitCode::usage, fmt::format("[load] {}: {}", file_.string(), what));
  }

  const json& field(const json& object, const std::string& where, const char* name) const {
    if (!object.is_object()) refuse(fmt::format("{} is no JSON object", where.empty() ? "the file" : where));
    const auto at = object.find(name);
    if (at == object.end()) refuse(fmt::format("'{}{}' is missing", where.empty() ? "" : where + ".", name));
    return *at;
  }

  std::string text(const json& object, const std::string& where, const char* name) const {
    const json& value = field(object, where, name);
    if (!value.is_string()) refuse(fmt::format("'{}{}' is no text", where.empty() ? "" : where + ".", name));
    return value.get<std::string>();
  }

  std::int64_t number(const json& value, const std::string& what, std::int64_t least,
                      std::int64_t most) const {
    const bool whole =
        value.is_number_integer() && !(value.is_number_unsigned() && value.get<std::uint64_t>() > INT64_MAX);
    if (!whole || value.get<std::int64_t>() < least || value.get<std::int64_t>() > most)
      refuse(fmt::format("'{}' is {}, not a whole number from {} to {}", what, printable(value.dump()), least,
                         most));
    return value.get<std::int64_t>();
  }

  const json& list(const json& object, const char* name) const {
    const json& value = field(object, "", name);
    if (!value.is_array()) refuse(fmt::format("'{}' is no list", name));
    return value;
  }

 private:
  const std::filesystem::path& file_;
};

std::vector<text::TurnSpan> read_turns(const Reader& reader, const json& document, std::int64_t tokens) {
  std::vector<text::TurnSpan> turns;
  for (const json& item : reader.list(document, "turns")) {
    const std::string where = fmt::format("turns[{}]", turns.size());
    text::TurnSpan turn;
    const std::int64_t begin = turns.empty() ? 0 : turns.back().end;
    turn.begin = reader.number(reader.field(item, where, "begin"), where + ".begin", begin, begin);
    turn.prompt_end =
        reader.number(reader.field(item, where, "prompt_end"), where + ".prompt_end", begin + 1, tokens);
    turn.end = reader.number(reader.field(item, where, "end"), where + ".end", turn.prompt_end, tokens);
    turn.user = reader.text(item, where, "user");
    turn.text = reader.text(item, where, "text");
    turn.stop_reason = reader.text(item, where, "stop_reason");
    turns.push_back(std::move(turn));
  }
  const std::int64_t covered = turns.empty() ? 0 : turns.back().end;
  if (covered != tokens)
    reader.refuse(fmt::format("the ledger has {} tokens, the turns cover {}", tokens, covered));
  return turns;
}

}  // namespace

void write_chat(const std::filesystem::path& file, const SavedChat& chat) {
  json turns = json::array();
  for (const text::TurnSpan& turn : chat.turns) {
    turns.push_back({{"begin", turn.begin},
                     {"prompt_end", turn.prompt_end},
                     {"end", turn.end},
                     {"user", turn.user},
                     {"text", turn.text},
                     {"stop_reason", turn.stop_reason}});
  }
  json identity = json::object();
  for (const IdentityField& field : identity_fields) identity[field.name] = chat.identity.*field.value;
  const json document = {{"format", format_name},
                         {"version", format_version},
                         {"saved_utc", chat.saved_utc},
                         {"model_path", chat.model_path},
                         {"identity", identity},
                         {"system", chat.system ? json(*chat.system) : json(nullptr)},
                         {"turns", turns},
                         {"ledger", chat.ledger}};
  io::write_file(file, document.dump() + "\n");
}

SavedChat read_chat(const std::filesystem::path& file, std::int64_t vocabulary) {
  const Reader reader(file);
  json document;
  try {
    document = io::read_json(file);
  } catch (const Error& e) {
    throw Error(ExitCode::usage, std::string("[load] ") + e.what());
  }
  if (reader.text(document, "", "format") != format_name) reader.refuse("this is no saved conversation");
  const json& version = reader.field(document, "", "version");
  if (version != format_version)
    reader.refuse(
        fmt::format("'version' is {}; this program reads {}", printable(version.dump()), format_version));
  SavedChat chat;
  chat.saved_utc = reader.text(document, "", "saved_utc");
  chat.model_path = reader.text(document, "", "model_path");
  const json& identity = reader.field(document, "", "identity");
  for (const IdentityField& field : identity_fields)
    chat.identity.*field.value = reader.text(identity, "identity", field.name);
  if (!reader.field(document, "", "system").is_null()) chat.system = reader.text(document, "", "system");
  for (const json& id : reader.list(document, "ledger")) {
    chat.ledger.push_back(static_cast<std::int32_t>(
        reader.number(id, fmt::format("ledger[{}]", chat.ledger.size()), 0, vocabulary - 1)));
  }
  chat.turns = read_turns(reader, document, static_cast<std::int64_t>(chat.ledger.size()));
  return chat;
}

void require_same(const std::filesystem::path& file, const ChatIdentity& saved, const ChatIdentity& now) {
  for (const IdentityField& field : identity_fields) {
    if (saved.*field.value == now.*field.value) continue;
    throw Error(
        ExitCode::usage,
        fmt::format("[load] {}: the conversation belongs to another model: identity.{} is {} there and {} "
                    "here; start the run with the model that it was saved with",
                    file.string(), field.name, printable(saved.*field.value), now.*field.value));
  }
}

}  // namespace tetrad::cli

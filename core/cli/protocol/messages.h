// The messages between launcher and engine as types. to_json() writes "v" and "type"; parse_message() checks
// both and every field's type, ignores keys it does not know (a newer minor peer may add some) and refuses
// unknown types. launcher -> engine: RunMessage once, then any number of StopMessage and SoftMessage. engine
// -> launcher: PhaseMessage, then one StatusMessage as the last word; the engine exits with the same code. A
// SoftMessage is answered by the phase "soft_done" with details {"epoch", "freed_bytes", "done": [texts]}.
#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace tetrad::cli {

inline constexpr int protocol_version = 1;

// A plugin that the launcher chose, with what it read from the file without loading it.
struct PluginRef {
  std::string kind;  // "linear", "kv_cache", ...
  std::string id;
  std::string file;  // absolute
  std::string version;
  nlohmann::json metadata = nlohmann::json::object();
};

struct RunMessage {
  std::string command;  // chat | generate | logits | tokenize | eval | doctor | why | check | verify | parity
  nlohmann::json config = nlohmann::json::object();  // resolved; empty for commands that need no config
  std::string config_file;                           // as given on the command line; "" without a config
  std::string config_hash;                           // sha256 hex of the resolved config; "" without a config
  std::vector<PluginRef> plugins;
  nlohmann::json args = nlohmann::json::object();
  std::optional<std::string> run_dir;  // absolute, exists
  std::optional<std::uint64_t> guard_limit_bytes;
};

struct StopMessage {
  std::string reason;  // "interrupt" (first Ctrl-C: end the current generation)
};

// The guard's soft stage: memory runs short, give back what can be made again (eval cache, spare KV slots),
// and save what would be lost.
struct SoftMessage {
  std::uint64_t epoch = 0;  // counts up from 1
  std::uint64_t bytes_now = 0;
  std::uint64_t soft_bytes = 0;   // that were passed
  std::uint64_t limit_bytes = 0;  // at which the run is ended
};

struct PhaseMessage {
  std::string name;  // model_loading | model_loaded | ready | turn | ...
  std::optional<std::uint64_t> bytes_now;
  std::optional<std::uint64_t> bytes_forecast;
  nlohmann::json details = nlohmann::json::object();  // answers of `doctor` and `why`; omitted when empty
};

struct StatusMessage {
  int exit_code = 0;
  std::string message;
};

using Message = std::variant<RunMessage, StopMessage, SoftMessage, PhaseMessage, StatusMessage>;

nlohmann::json to_json(const RunMessage& message);
nlohmann::json to_json(const StopMessage& message);
nlohmann::json to_json(const SoftMessage& message);
nlohmann::json to_json(const PhaseMessage& message);
nlohmann::json to_json(const StatusMessage& message);

// Throws Error when the version is another one, the type is unknown, or a field is missing or mistyped.
Message parse_message(const nlohmann::json& message);

}  // namespace tetrad::cli

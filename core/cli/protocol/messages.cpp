#include "cli/protocol/messages.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>

#include <limits>
#include <string_view>

#include "sdk/base/or_null.h"
#include "sdk/base/printable.h"

namespace tetrad::cli {

using nlohmann::json;

namespace {

json envelope(const char* type) {
  return {{"v", protocol_version}, {"type", type}};
}

const json& field(const json& object, const char* key) {
  const auto it = object.find(key);
  if (it == object.end()) throw Error(fmt::format("[control] a message has no field '{}'", key));
  return *it;
}

[[noreturn]] void mistyped(const char* key, const char* wanted, const json& value) {
  throw Error(
      fmt::format("[control] field '{}' of a message must be {}, not {}", key, wanted, value.type_name()));
}

std::string text(const json& object, const char* key) {
  const json& value = field(object, key);
  if (!value.is_string()) mistyped(key, "a string", value);
  return value.get<std::string>();
}

json map(const json& object, const char* key) {
  const auto it = object.find(key);
  if (it == object.end()) return json::object();
  if (!it->is_object()) mistyped(key, "an object", *it);
  return *it;
}

std::optional<std::uint64_t> bytes(const json& object, const char* key) {
  const auto it = object.find(key);
  if (it == object.end() || it->is_null()) return std::nullopt;
  if (!it->is_number_unsigned()) mistyped(key, "a byte count or null", *it);
  return it->get<std::uint64_t>();
}

std::uint64_t count(const json& object, const char* key) {
  const json& value = field(object, key);
  if (!value.is_number_unsigned()) mistyped(key, "a whole number from 0 up", value);
  return value.get<std::uint64_t>();
}

PluginRef parse_plugin(const json& value) {
  if (!value.is_object()) mistyped("plugins[]", "an object", value);
  return {text(value, "kind"), text(value, "id"), text(value, "file"), text(value, "version"),
          map(value, "metadata")};
}

RunMessage parse_run(const json& message) {
  RunMessage run;
  run.command = text(message, "command");
  run.config = map(message, "config");
  run.config_file = text(message, "config_file");
  run.config_hash = text(message, "config_hash");
  const json& plugins = field(message, "plugins");
  if (!plugins.is_array()) mistyped("plugins", "a list", plugins);
  for (const json& plugin : plugins) run.plugins.push_back(parse_plugin(plugin));
  run.args = map(message, "args");
  if (const auto it = message.find("run_dir"); it != message.end() && !it->is_null()) {
    run.run_dir = text(message, "run_dir");
  }
  run.guard_limit_bytes = bytes(map(message, "guard"), "limit_bytes");
  return run;
}

StatusMessage parse_status(const json& message) {
  const json& code = field(message, "exit_code");
  if (!code.is_number_integer()) mistyped("exit_code", "an integer", code);
  const auto value = code.get<std::int64_t>();
  if (value < 0 || value > 255) throw Error(fmt::format("[control] exit_code {} is outside 0 to 255", value));
  return {static_cast<int>(value), text(message, "message")};
}

}  // namespace

json to_json(const RunMessage& message) {
  json out = envelope("run");
  out["command"] = message.command;
  out["config"] = message.config;
  out["config_file"] = message.config_file;
  out["config_hash"] = message.config_hash;
  out["plugins"] = json::array();
  for (const PluginRef& plugin : message.plugins) {
    out["plugins"].push_back({{"kind", plugin.kind},
                              {"id", plugin.id},
                              {"file", plugin.file},
                              {"version", plugin.version},
                              {"metadata", plugin.metadata}});
  }
  out["args"] = message.args;
  out["run_dir"] = message.run_dir ? json(*message.run_dir) : json(nullptr);
  out["guard"] = {{"limit_bytes", or_null(message.guard_limit_bytes)}};
  return out;
}

json to_json(const StopMessage& message) {
  json out = envelope("stop");
  out["reason"] = message.reason;
  return out;
}

json to_json(const SoftMessage& message) {
  json out = envelope("soft");
  out["epoch"] = message.epoch;
  out["bytes_now"] = message.bytes_now;
  out["soft_bytes"] = message.soft_bytes;
  out["limit_bytes"] = message.limit_bytes;
  return out;
}

json to_json(const PhaseMessage& message) {
  json out = envelope("phase");
  out["name"] = message.name;
  out["bytes_now"] = or_null(message.bytes_now);
  out["bytes_forecast"] = or_null(message.bytes_forecast);
  if (!message.details.empty()) out["details"] = message.details;
  return out;
}

json to_json(const StatusMessage& message) {
  json out = envelope("status");
  out["exit_code"] = message.exit_code;
  out["message"] = message.message;
  return out;
}

Message parse_message(const json& message) {
  if (!message.is_object())
    throw Error(fmt::format("[control] a message must be an object, not {}", message.type_name()));
  const json& version = field(message, "v");
  if (!version.is_number_integer() || version != protocol_version) {
    throw Error(fmt::format(
        "[control] the other side speaks protocol version {}, this one {}: host and tetrad-engine "
        "come from different builds; build both again",
        printable(version.dump()), protocol_version));
  }
  const std::string type = text(message, "type");
  if (type == "run") return parse_run(message);
  if (type == "stop") return StopMessage{text(message, "reason")};
  if (type == "soft") {
    return SoftMessage{count(message, "epoch"), count(message, "bytes_now"), count(message, "soft_bytes"),
                       count(message, "limit_bytes")};
  }
  if (type == "phase") {
    return PhaseMessage{text(message, "name"), bytes(message, "bytes_now"), bytes(message, "bytes_forecast"),
                        map(message, "details")};
  }
  if (type == "status") return parse_status(message);
  throw Error(fmt::format("[control] unknown message type '{}'", printable(type)));
}

}  // namespace tetrad::cli

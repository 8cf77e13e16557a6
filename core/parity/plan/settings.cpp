#include "parity/plan/settings.h"

#include <tetrad/base/error.h>

#include <fmt/format.h>
#include <charconv>
#include <nlohmann/json.hpp>

namespace tetrad::parity {

using nlohmann::json;

namespace {

constexpr const char* default_prompt = "Write one short sentence about UFO and you.";

template <typename T>
void take(const json& section, const char* key, T& value) {
  const auto found = section.find(key);
  if (found != section.end()) value = found->get<T>();
}

template <typename T, typename Stored = T>
void take_optional(const json& section, const char* key, std::optional<T>& value) {
  const auto found = section.find(key);
  if (found != section.end() && !found->is_null()) value = T(found->get<Stored>());
}

}  // namespace

Feed parse_feed(const std::string& text) {
  if (text == "off") return {FeedMode::off, 0};
  if (text == "whole") return {FeedMode::whole, 0};
  if (text == "turns") return {FeedMode::turns, 0};
  if (text == "tokens") return {FeedMode::tokens, 0};
  constexpr std::string_view chunk = "chunk:";
  if (text.starts_with(chunk)) {
    Feed feed{FeedMode::chunk, 0};
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data() + chunk.size(), end, feed.chunk);
    if (error == std::errc{} && stop == end && feed.chunk >= 1) return feed;
  }
  throw Error(
      ExitCode::usage,
      fmt::format("[parity] feed '{}' is none of off, whole, turns, tokens, chunk:N with N >= 1", text));
}

Settings read_settings(const json& section) {
  Settings settings;
  try {
    take(section, "prompts", settings.prompts);
    take(section, "max_tokens", settings.max_tokens);
    take_optional(section, "continuation", settings.continuation);
    take(section, "feed", settings.feed_text);
    take(section, "iterations", settings.iterations);
    take(section, "layers", settings.layers);
    take(section, "layer_tokens", settings.layer_tokens);
    take_optional<std::filesystem::path, std::string>(section, "text", settings.text);
    take(section, "text_tokens", settings.text_tokens);
    take(section, "window", settings.window);
    take(section, "top_k", settings.top_k);
    take(section, "repeats", settings.repeats);
    take(section, "train_steps", settings.train_steps);
    take_optional<std::filesystem::path, std::string>(section, "logits_file", settings.logits_file);
  } catch (const json::exception& e) {
    throw Error(ExitCode::usage,
                fmt::format("[parity] the settings of an arm are not readable: {}", e.what()));
  }
  settings.feed = parse_feed(settings.feed_text);
  return settings;
}

std::vector<std::string> prompts_of(const json& config) {
  auto prompts = config.at("parity").at("prompts").get<std::vector<std::string>>();
  if (!prompts.empty()) return prompts;
  const json& chat = config.at("chat");
  prompts.push_back(chat.at("prompt").is_string() ? chat.at("prompt").get<std::string>() : default_prompt);
  const auto turns = chat.at("turns").get<std::int64_t>();
  while (static_cast<std::int64_t>(prompts.size()) < turns)
    prompts.push_back(chat.at("followup_prompt").get<std::string>());
  return prompts;
}

}  // namespace tetrad::parity

// The `parity` section of a resolved config as a type, for the launcher and for the engine that runs an arm.
// The schema (core/config/parity_schema.cpp) has checked every value already; what is missing or mistyped
// here is a defect of the caller and Error(usage). The tolerances are read by core/parity/compare alone.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace tetrad::parity {

// How the script's tokens go into the KV cache.
enum class FeedMode : std::uint8_t {
  off,     // no reuse: for each turn's tokens the cache is emptied and everything before them computed again
  whole,   // all at once
  turns,   // segment by segment, as a conversation goes
  tokens,  // one by one
  chunk,   // Feed::chunk at a time
};

struct Feed {
  FeedMode mode = FeedMode::turns;
  std::int64_t chunk = 0;  // tokens; of FeedMode::chunk alone
};

// "off", "whole", "turns", "tokens", "chunk:64". Throws Error(usage) for anything else.
Feed parse_feed(const std::string& text);

struct Settings {
  std::vector<std::string> prompts;  // may be empty in a config: see prompts_of()
  std::int64_t max_tokens = 24;
  std::optional<std::string> continuation;
  std::string feed_text = "turns";  // as configured
  Feed feed;
  std::int64_t iterations = 1;
  bool layers = false;
  std::int64_t layer_tokens = 32;
  std::optional<std::filesystem::path> text;
  std::int64_t text_tokens = 2048;
  std::int64_t window = 512;
  std::int64_t top_k = 5;
  std::int64_t repeats = 1;
  std::int64_t train_steps = 0;
  std::optional<std::filesystem::path> logits_file;
};

// `section`: the value of "parity".
Settings read_settings(const nlohmann::json& section);

// The user messages of the comparison's conversation, never empty: parity.prompts; else chat.prompt, and
// chat.followup_prompt for each further one of chat.turns; without chat.prompt one general question stands
// for it.
std::vector<std::string> prompts_of(const nlohmann::json& config);

}  // namespace tetrad::parity

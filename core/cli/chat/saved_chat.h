// A conversation as a file: the token ledger with its turns, and the identity of what it belongs to. The KV
// cache is not in it; whoever loads it feeds the ledger again. JSON, {"format": "tetrad-chat", "version": 1,
// ...}, written whole or not at all; reading treats it as hostile.
#pragma once

#include "text/turn_span.h"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace tetrad::cli {

// What must be the same for the ledger to mean the same.
struct ChatIdentity {
  std::string model;          // SHA-256 of config.json
  std::string tokenizer;      // SHA-256 of tokenizer.json
  std::string chat_template;  // SHA-256 of the template's text
  std::string weights;        // WeightFiles::identity()

  bool operator==(const ChatIdentity&) const = default;
};

struct SavedChat {
  ChatIdentity identity;
  std::string model_path;  // for people
  std::string saved_utc;
  std::optional<std::string> system;
  std::vector<std::int32_t> ledger;
  std::vector<text::TurnSpan> turns;

  bool operator==(const SavedChat&) const = default;
};

void write_chat(const std::filesystem::path& file, const SavedChat& chat);

// Throws Error(usage) "[load] FILE: ..." naming the field that is missing, mistyped or contradicts another.
SavedChat read_chat(const std::filesystem::path& file, std::int64_t vocabulary);

// Throws Error(usage) naming the first field that differs, with both values.
void require_same(const std::filesystem::path& file, const ChatIdentity& saved, const ChatIdentity& now);

}  // namespace tetrad::cli

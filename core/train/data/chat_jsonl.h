// Chats, one JSON object a line: {"messages": [{"role": "user", "content": "..."}, ...]}. The roles are
// those that a chat with Tetrad has: an optional system message, then user and assistant in turns, ending
// with the assistant. Other keys beside "messages" (ids, sources) are not read; in a message only empty ones
// are let pass, because "tool_calls" and the like would change what the model sees.
#pragma once

#include "train/data/bad_lines.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tetrad::train {

struct Exchange {
  std::string user;
  std::string assistant;
};

struct Conversation {
  std::int64_t line = 0;
  std::optional<std::string> system;
  std::vector<Exchange> exchanges;  // at least one
};

struct ChatFile {
  std::vector<Conversation> conversations;
  std::int64_t lines = 0;
};

// Lines that are no conversation go to `bad` with the reason.
ChatFile parse_chat_jsonl(std::string_view text, BadLines& bad);

}  // namespace tetrad::train

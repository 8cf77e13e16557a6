#include "train/data/chat_jsonl.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "io/json.h"
#include "sdk/base/printable.h"
#include "train/data/text_file.h"

namespace tetrad::train {
namespace {

using Json = nlohmann::json;

struct Unusable {
  std::string reason;
};

[[noreturn]] void refuse(std::string reason) {
  throw Unusable{std::move(reason)};
}

// {role, content} of messages[i], checked.
std::pair<std::string, std::string> read_message(const Json& message, std::size_t i) {
  if (!message.is_object()) refuse(fmt::format("messages[{}] is not an object", i));
  for (const auto& [key, value] : message.items()) {
    if (key == "role" || key == "content" || value.is_null() || value.empty() || value == "") continue;
    refuse(fmt::format("messages[{}] has '{}', which training does not know; a message has role and content",
                       i, printable(key, 40)));
  }
  const auto text = [&](const char* key) {
    const auto found = message.find(key);
    if (found == message.end()) refuse(fmt::format("messages[{}] has no '{}'", i, key));
    if (!found->is_string())
      refuse(fmt::format("messages[{}].{} is {}, and must be a text", i, key, found->type_name()));
    return found->get<std::string>();
  };
  return {text("role"), text("content")};
}

Conversation read_conversation(const Json& line) {
  if (!line.is_object()) refuse("it is not a JSON object {\"messages\": [...]}");
  const auto messages = line.find("messages");
  if (messages == line.end()) refuse("there is no \"messages\"");
  if (!messages->is_array() || messages->empty()) refuse("\"messages\" is not a list with messages in it");
  Conversation result;
  bool user_next = true;
  for (std::size_t i = 0; i < messages->size(); ++i) {
    auto [role, content] = read_message((*messages)[i], i);
    if (role == "system" && i == 0) {
      result.system = std::move(content);
      continue;
    }
    if (role != "user" && role != "assistant") {
      refuse(role == "system" ? fmt::format("messages[{}] is a system message; only the first may be", i)
                              : fmt::format("messages[{}] has the role '{}'; known are system, user and "
                                            "assistant",
                                            i, printable(role, 40)));
    }
    if ((role == "user") != user_next) {
      refuse(fmt::format("messages[{}] is the {}'s, but it is the {}'s turn", i, role,
                         user_next ? "user" : "assistant"));
    }
    if (content.find_first_not_of(" \t\r\n") == std::string::npos)
      refuse(fmt::format("messages[{}].content is empty", i));
    if (role == "user")
      result.exchanges.push_back({std::move(content), {}});
    else
      result.exchanges.back().assistant = std::move(content);
    user_next = role == "assistant";
  }
  if (result.exchanges.empty()) refuse("there is no user message");
  if (!user_next) refuse("the last message is the user's, so there is no answer to learn");
  return result;
}

}  // namespace

ChatFile parse_chat_jsonl(std::string_view text, BadLines& bad) {
  ChatFile file;
  LineReader lines(text);
  io::JsonLimits limits;
  limits.max_values = 100'000;
  for (std::string_view line; lines.next(line);) {
    std::string problem = line_problem(line);
    if (problem.empty() && line.find_first_not_of(" \t") == std::string_view::npos) problem = "it is empty";
    if (problem.empty()) {
      try {
        file.conversations.push_back(read_conversation(io::parse_json(line, "json", limits)));
        file.conversations.back().line = lines.number();
      } catch (const Unusable& unusable) {
        problem = unusable.reason;
      } catch (const Error& error) {
        problem = error.what();  // "[json] json: line 1, column C: ..."
        constexpr std::string_view prefix = "[json] json: line 1, ";
        if (problem.starts_with(prefix)) problem.erase(0, prefix.size());
      }
    }
    if (!problem.empty()) bad.add(lines.number(), std::move(problem));
  }
  file.lines = lines.number();
  return file;
}

}  // namespace tetrad::train

// The chat template of a Hugging Face model directory: messages in, the prompt's text out, the same text as
// transformers' apply_chat_template(tokenize=False). Reads chat_template.jinja if there is one, else
// "chat_template" of tokenizer_config.json (of several named ones, "default"). The template language is a
// subset of Jinja (core/text/jinja); a construct outside it is an Error with its line when the template is
// loaded. Immutable; copies share the compiled template.
#pragma once

#include "text/jinja/template.h"

#include <nlohmann/json.hpp>

#include <ctime>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tetrad::text {

struct Message {
  std::string role;     // "system", "user", "assistant", ...
  std::string content;  // valid UTF-8
  // Further keys that some templates read (reasoning_content, tool_calls ...); an object or null.
  nlohmann::ordered_json extra = nullptr;
};

class ChatTemplate {
 public:
  // Throws Error when the directory has no template or it cannot be used; the message names file and line.
  static ChatTemplate load(const std::filesystem::path& model_dir);
  // False when the directory has neither file with a template: a base model.
  static bool exists(const std::filesystem::path& model_dir);
  // A template from its source, with the special tokens it may name (bos_token, eos_token ...).
  ChatTemplate(std::string_view source, std::string name, nlohmann::ordered_json special_tokens = nullptr);

  // The prompt for these messages. `variables`: an object with more variables, e.g. {"enable_thinking":
  // false}; `tools` and `documents` are none unless given there. `now` is what strftime_now() tells; the
  // current time when absent. Throws Error (usage) for text that is not UTF-8, Error with the template's line
  // when it refuses the messages.
  std::string render(const std::vector<Message>& messages, bool add_generation_prompt,
                     const nlohmann::ordered_json& variables = nullptr,
                     std::optional<std::time_t> now = {}) const;

  const std::string& source() const noexcept { return *source_; }
  const std::string& name() const noexcept { return name_; }

 private:
  std::string name_;
  std::shared_ptr<const std::string> source_;
  jinja::Template template_;
  jinja::Dict special_tokens_;
};

}  // namespace tetrad::text

#include "text/chat_template.h"

#include "text/json_view.h"
#include "text/utf8.h"

#include <tetrad/base/error.h>

#include <array>

namespace tetrad::text {
namespace {

constexpr std::size_t kMaxTemplateBytes = std::size_t{1} << 20;
constexpr std::size_t kMaxConfigBytes = std::size_t{64} << 20;
constexpr std::array<const char*, 7> kSpecialTokens = {"bos_token", "eos_token", "unk_token", "sep_token",
                                                       "pad_token", "cls_token", "mask_token"};

// A special token is written as a string or as an object with its content.
nlohmann::ordered_json read_special_tokens(const JsonView& config) {
  nlohmann::ordered_json out = nlohmann::ordered_json::object();
  for (const char* name : kSpecialTokens) {
    const JsonView token = config.get(name);
    if (token.is_null()) continue;
    out[name] = token.value().is_object() ? token.at("content").string() : token.string();
  }
  return out;
}

std::optional<std::string> read_template(const JsonView& config) {
  const JsonView field = config.get("chat_template");
  if (field.is_null()) return std::nullopt;
  if (!field.value().is_array()) return field.string();
  for (std::size_t i = 0; i < field.array_size(); ++i) {
    if (field.at(i).at("name").string() == "default") return field.at(i).at("template").string();
  }
  field.fail("has several templates, but none is named 'default'");
}

struct Found {
  std::string name, source;
  nlohmann::ordered_json special_tokens;
};

std::optional<Found> find_template(const std::filesystem::path& model_dir) {
  const auto config_file = model_dir / "tokenizer_config.json",
             template_file = model_dir / "chat_template.jinja";
  Found found;
  std::optional<std::string> source;
  if (std::filesystem::exists(config_file)) {
    const nlohmann::json json = read_json_file(config_file, kMaxConfigBytes);
    const JsonView config(json, config_file.string());
    config.expect_object();
    found.special_tokens = read_special_tokens(config);
    source = read_template(config);
    found.name = config_file.string() + " (chat_template)";
  }
  if (std::filesystem::exists(template_file)) {
    source = read_text_file(template_file, kMaxTemplateBytes);
    found.name = template_file.string();
  }
  if (!source) return std::nullopt;
  found.source = std::move(*source);
  return found;
}

void require_object(const nlohmann::ordered_json& json, const char* what) {
  if (!json.is_null() && !json.is_object()) throw Error(std::string("[text] ") + what + " must be an object");
}

}  // namespace

ChatTemplate::ChatTemplate(std::string_view source, std::string name, nlohmann::ordered_json special_tokens)
    : name_(std::move(name)), source_(std::make_shared<const std::string>(source)), template_(source, name_) {
  require_object(special_tokens, "special tokens of a chat template");
  for (const auto& [key, token] : special_tokens.items()) {
    jinja::assign(special_tokens_, key, jinja::Value::from_json(token));
  }
}

bool ChatTemplate::exists(const std::filesystem::path& model_dir) {
  return find_template(model_dir).has_value();
}

ChatTemplate ChatTemplate::load(const std::filesystem::path& model_dir) {
  auto found = find_template(model_dir);
  if (!found) {
    throw Error("[text] " + model_dir.string() +
                " has no chat template (chat_template.jinja, or chat_template in tokenizer_config.json): it "
                "is a base "
                "model; generate with a raw prompt, or add a template");
  }
  return ChatTemplate(found->source, std::move(found->name), std::move(found->special_tokens));
}

std::string ChatTemplate::render(const std::vector<Message>& messages, bool add_generation_prompt,
                                 const nlohmann::ordered_json& variables,
                                 std::optional<std::time_t> now) const {
  require_object(variables, "chat template variables");
  jinja::List list;
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const Message& message = messages[i];
    require_utf8(message.role, "the role of message " + std::to_string(i));
    require_utf8(message.content, "the content of message " + std::to_string(i));
    jinja::Dict dict{{"role", message.role}, {"content", message.content}};
    require_object(message.extra, "extra keys of a message");
    for (const auto& [key, value] : message.extra.items())
      jinja::assign(dict, key, jinja::Value::from_json(value));
    list.emplace_back(std::move(dict));
  }
  jinja::Dict scope = special_tokens_;
  jinja::assign(scope, "messages", std::move(list));
  jinja::assign(scope, "tools", jinja::Value());
  jinja::assign(scope, "documents", jinja::Value());
  jinja::assign(scope, "add_generation_prompt", add_generation_prompt);
  for (const auto& [key, value] : variables.items())
    jinja::assign(scope, key, jinja::Value::from_json(value));
  return template_.render(std::move(scope), now ? *now : std::time(nullptr));
}

}  // namespace tetrad::text

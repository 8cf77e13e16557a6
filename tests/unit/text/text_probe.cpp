// Line protocol around core/text for the oracle tests in Python: one JSON request per line on stdin, one JSON
// answer per line on stdout ({"error": "..."} when it throws). Usage: text_probe MODEL_DIR
//   {"encode": "text", "parse_special": true, "add_special": false}  -> {"ids": [...]}
//   {"decode": [ids], "skip_special": false}                         -> {"bytes": [0..255 ...]}
//   {"messages": [{role, content ...}], "add_generation_prompt": true, "variables": {...}, "template":
//   "source"}
//                                       -> {"text": "..."}; the directory's template unless one is given
#include "text/chat_template.h"
#include "text/tokenizer.h"

#include <nlohmann/json.hpp>

#include <iostream>
#include <string>

using nlohmann::json;

namespace {

using nlohmann::ordered_json;

ordered_json render(const std::string& model_dir, const ordered_json& request) {
  const auto chat = request.contains("template")
                        ? tetrad::text::ChatTemplate(request["template"].get<std::string>(), "given",
                                                     request.value("special_tokens", ordered_json()))
                        : tetrad::text::ChatTemplate::load(model_dir);
  std::vector<tetrad::text::Message> messages;
  for (const auto& entry : request.at("messages")) {
    messages.push_back(
        {entry.value("role", ""), "", entry});  // every key, so that the oracle sees the same dict
  }
  return {{"text", chat.render(messages, request.value("add_generation_prompt", false),
                               request.value("variables", ordered_json()))}};
}

json answer(const tetrad::text::Tokenizer& tokenizer, const json& request) {
  if (request.contains("encode")) {
    return {
        {"ids", tokenizer.encode(request["encode"].get<std::string>(), request.value("parse_special", true),
                                 request.value("add_special", false))}};
  }
  const std::string bytes = tokenizer.decode(request.at("decode").get<std::vector<std::int32_t>>(),
                                             request.value("skip_special", false));
  json list = json::array();
  for (const char c : bytes) list.push_back(static_cast<unsigned char>(c));
  return {{"bytes", std::move(list)}};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: text_probe MODEL_DIR\n";
    return 2;
  }
  try {
    const auto tokenizer = tetrad::text::Tokenizer::load(argv[1]);
    std::string line;
    while (std::getline(std::cin, line)) {
      try {
        const auto request = ordered_json::parse(line);
        if (request.contains("messages")) {
          std::cout << render(argv[1], request).dump() << std::endl;
        } else {
          std::cout << answer(tokenizer, json::parse(line)).dump() << std::endl;
        }
      } catch (const std::exception& e) {
        std::cout << json{{"error", e.what()}}.dump() << std::endl;
      }
    }
  } catch (const std::exception& e) {
    std::cerr << "error: " << e.what() << "\n";
    return 1;
  }
}

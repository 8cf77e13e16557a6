// Line protocol around core/text for the oracle tests in Python: one JSON request per line on stdin, one JSON
// answer per line on stdout ({"error": "..."} when it throws). Usage: text_probe MODEL_DIR
//   {"encode": "text", "parse_special": true, "add_special": false}  -> {"ids": [...]}
//   {"decode": [ids], "skip_special": false}                         -> {"bytes": [0..255 ...]}
#include "text/tokenizer.h"

#include <nlohmann/json.hpp>

#include <iostream>
#include <string>

using nlohmann::json;

namespace {

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
        std::cout << answer(tokenizer, json::parse(line)).dump() << std::endl;
      } catch (const std::exception& e) {
        std::cout << json{{"error", e.what()}}.dump() << std::endl;
      }
    }
  } catch (const std::exception& e) {
    std::cerr << "error: " << e.what() << "\n";
    return 1;
  }
}

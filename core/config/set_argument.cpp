#include "config/set_argument.h"

#include <fmt/format.h>
#include <algorithm>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "config/merge.h"
#include "config/scalar.h"
#include "config/schema.h"
#include "config/yaml_reader.h"

namespace tetrad::config {
namespace {

bool is_key(std::string_view key) {
  return !key.empty() && std::all_of(key.begin(), key.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  });
}

// The value for a path that the schema knows as a map, read as one; untyped text for all others.
Node set_value(std::string_view path, std::string_view text, const Origin& origin, Diagnostics& diagnostics) {
  std::string_view rest;
  const Field* field = find_field(core_schema(), path, &rest);
  const bool takes_map = field != nullptr && rest.empty() &&
                         (field->type == Type::section || field->type == Type::options ||
                          field->type == Type::text_map || field->type == Type::free_map);
  if (!takes_map) return Node::untyped(std::string(text), origin);
  Diagnostics problems;
  Node value = read_yaml(text, origin, problems);
  if (!problems.has_errors() && value.is_map() && !trimmed(text).empty()) return value;
  diagnostics.append(problems);
  if (!problems.has_errors()) {
    diagnostics.error(origin, fmt::format("'{0}' is a section; set one of its keys ({0}.KEY=VALUE) or a map "
                                          "({0}={{key: value}})",
                                          path));
  }
  return Node::invalid(origin, std::string(text));
}

}  // namespace

Node read_set_arguments(std::span<const std::string> arguments, Diagnostics& diagnostics) {
  Node root = Node::map({}, Origin{});
  int number = 0;
  for (const std::string& argument : arguments) {
    const Origin origin = Origin::set(std::make_shared<const std::string>(argument), ++number);
    if (invalid_utf8_offset(argument) != std::string::npos) {
      diagnostics.error(Origin::set(std::make_shared<const std::string>("..."), number),
                        "the argument is not valid UTF-8");
      continue;
    }
    const std::size_t equals = argument.find('=');
    const std::string_view path = trimmed(std::string_view(argument).substr(0, equals));
    if (equals == std::string::npos) {
      diagnostics.error(origin, "expected PATH=VALUE, such as chat.max_tokens=64");
      continue;
    }
    std::vector<std::string> keys;
    bool good = true;
    for (std::string_view rest = path;;) {
      const std::size_t dot = rest.find('.');
      keys.emplace_back(rest.substr(0, dot));
      good = good && is_key(keys.back());
      if (dot == std::string_view::npos) break;
      rest.remove_prefix(dot + 1);
    }
    if (!good || keys.size() > 16) {
      diagnostics.error(
          origin, fmt::format("{} is not a path of keys with dots between them, such as chat.max_tokens",
                              quoted_for_message(path)));
      continue;
    }
    if (keys[0] == "extends" || keys[0] == "pin") {
      diagnostics.error(
          origin, fmt::format("'{}' belongs into a file and cannot be set on the command line", keys[0]));
      continue;
    }
    const std::string_view text = std::string_view(argument).substr(equals + 1);
    Node value = set_value(path, text, origin, diagnostics);
    for (std::size_t i = keys.size(); i-- > 0;)
      value = Node::map({{keys[i], origin, std::move(value)}}, origin);
    root = merge(root, value, nullptr, diagnostics);
  }
  return root;
}

bool is_quoted_argument(const Node& node) {
  const std::string& text = node.as_string();
  if (!node.typed_by_schema() || node.origin().kind != Origin::Kind::set || node.origin().environment)
    return false;
  if (text.size() < 2 || (text[0] != '"' && text[0] != '\'') || text.back() != text[0]) return false;
  Diagnostics problems;
  const Node value = read_yaml(text, node.origin(), problems);
  return !problems.has_errors() && value.kind() == Kind::string;
}

std::string unquoted_argument(const Node& node) {
  if (!is_quoted_argument(node)) return node.as_string();
  Diagnostics problems;
  return read_yaml(node.as_string(), node.origin(), problems).as_string();
}

}  // namespace tetrad::config

#include "config/environment.h"

#include <fmt/format.h>
#include <algorithm>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "config/scalar.h"

namespace tetrad::config {
namespace {

bool is_variable_name(std::string_view name) {
  const auto letter = [](char c) { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_'; };
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  return !name.empty() && letter(name[0]) &&
         std::all_of(name.begin(), name.end(), [&](char c) { return letter(c) || digit(c); });
}

struct Substitution {
  std::string text;
  std::string names;  // of the variables met, ", " between them
  std::string problem;
};

// `body` is what stands between "${" and "}".
void substitute_one(std::string_view body, const EnvironmentLookup& lookup, Substitution& result) {
  static constexpr std::string_view prefix = "env:";
  const std::string_view rest = body.starts_with(prefix) ? body.substr(prefix.size()) : std::string_view();
  const std::size_t separator = rest.find(":-");
  const std::string name(rest.substr(0, separator));
  if (!is_variable_name(name)) {
    result.problem = fmt::format(
        "unknown reference {}; known are ${{env:NAME}} and ${{env:NAME:-default}}, and $${{ "
        "stands for a literal ${{",
        quoted_for_message(fmt::format("${{{}}}", body)));
    return;
  }
  std::optional<std::string> value = lookup(name);
  if (!value && separator != std::string_view::npos) value = std::string(rest.substr(separator + 2));
  if (!value) {
    result.problem = fmt::format(
        "environment variable '{0}' is not set; set it, or write a default: ${{env:{0}:-default}}", name);
  } else if (invalid_utf8_offset(*value) != std::string::npos || value->find('\0') != std::string::npos) {
    result.problem = fmt::format("the value of environment variable '{}' is not valid UTF-8", name);
  } else {
    result.text += *value;
    result.names += result.names.empty() ? name : ", " + name;
  }
}

Substitution substitute(std::string_view text, const EnvironmentLookup& lookup) {
  Substitution result;
  for (std::size_t i = 0; i < text.size() && result.problem.empty();) {
    if (text.substr(i).starts_with("$${")) {
      result.text += "${";
      i += 3;
    } else if (text.substr(i).starts_with("${")) {
      const std::size_t end = text.find('}', i);
      if (end == std::string_view::npos) {
        result.problem = "'${' without its '}'; $${ stands for a literal ${";
        break;
      }
      substitute_one(text.substr(i + 2, end - i - 2), lookup, result);
      i = end + 1;
    } else {
      result.text += text[i++];
    }
  }
  return result;
}

Node substitute_text(const Node& node, const EnvironmentLookup& lookup, Diagnostics& diagnostics) {
  if (node.as_string().find("${") == std::string::npos) return node;
  Substitution result = substitute(node.as_string(), lookup);
  if (!result.problem.empty()) {
    diagnostics.error(node.origin(), std::move(result.problem));
    return Node::invalid(node.origin(), node.as_string());
  }
  Origin origin = node.origin();
  if (result.names.empty()) {
    return node.typed_by_schema() ? Node::untyped(std::move(result.text), std::move(origin))
                                  : Node::string(std::move(result.text), std::move(origin));
  }
  origin.environment = std::make_shared<const std::string>(std::move(result.names));
  return Node::untyped(std::move(result.text), std::move(origin));
}

}  // namespace

EnvironmentLookup process_environment() {
  return [](const std::string& name) -> std::optional<std::string> {
    const char* value = std::getenv(name.c_str());
    if (value == nullptr) return std::nullopt;
    return std::string(value);
  };
}

Node substitute_environment(const Node& node, const EnvironmentLookup& lookup, Diagnostics& diagnostics) {
  switch (node.kind()) {
    case Kind::string:
      return substitute_text(node, lookup, diagnostics);
    case Kind::list: {
      std::vector<Node> items;
      for (const Node& item : node.items())
        items.push_back(substitute_environment(item, lookup, diagnostics));
      return Node::list(std::move(items), node.origin());
    }
    case Kind::map: {
      std::vector<Entry> entries;
      for (const Entry& entry : node.entries()) {
        entries.push_back(
            {entry.key, entry.key_origin, substitute_environment(entry.value, lookup, diagnostics)});
      }
      return Node::map(std::move(entries), node.origin());
    }
    default:
      return node;
  }
}

std::string escape_references(std::string text) {
  for (std::size_t at = 0; (at = text.find("${", at)) != std::string::npos; at += 3) text.insert(at, "$");
  return text;
}

}  // namespace tetrad::config

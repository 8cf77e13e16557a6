#include "config/validate_value.h"

#include <fmt/format.h>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "config/scalar.h"
#include "config/set_argument.h"
#include "config/suggest.h"
#include "config/yaml_reader.h"

namespace tetrad::config {
namespace {

namespace fs = std::filesystem;

std::string describe_value(const Node& node) {
  switch (node.kind()) {
    case Kind::boolean:
      return "the boolean " + node.text();
    case Kind::integer:
    case Kind::number:
      return "the number " + node.text();
    case Kind::string:
      return quoted_for_message(node.text());
    default:
      return kind_name(node.kind());
  }
}

// Gives a value whose text stood on the command line or in the environment the type that the field asks for.
// Where the text cannot be of that type it comes back as text, so that the ordinary type error follows.
Node typed(const Field& field, const Node& node, const std::string& path, Diagnostics& diagnostics) {
  const std::string text(trimmed(node.as_string()));
  const Origin& origin = node.origin();
  switch (field.type) {
    case Type::string:
      if (field.nullable && text == "null") return Node::null(origin);
      return Node::string(unquoted_argument(node), origin);
    case Type::choice:
      if (field.nullable && text == "null") return Node::null(origin);
      return Node::string(is_quoted_argument(node) ? unquoted_argument(node) : text, origin);
    case Type::list: {
      if (origin.environment || !text.starts_with('[')) return Node::string(text, origin);
      Diagnostics problems;
      Node list = read_yaml(text, origin, problems);
      if (!problems.has_errors()) return list;
      diagnostics.append(problems);
      return Node::invalid(origin, text);
    }
    default:
      break;
  }
  if (is_quoted_argument(node)) return Node::string(unquoted_argument(node), origin);
  std::string problem;
  Node value = plain_scalar(text, origin, problem);
  if (!problem.empty()) diagnostics.error(origin, fmt::format("{}: {}", path, problem));
  return value;
}

bool has_type(const Field& field, const Node& node) {
  const Kind kind = node.kind();
  switch (field.type) {
    case Type::boolean:
      return kind == Kind::boolean;
    case Type::integer:
      return kind == Kind::integer;
    case Type::number:
      return kind == Kind::integer || kind == Kind::number;
    case Type::string:
    case Type::choice:
      return kind == Kind::string;
    case Type::list:
      return kind == Kind::list;
    case Type::section:
    case Type::options:
    case Type::text_map:
    case Type::free_map:
      return kind == Kind::map;
  }
  return false;
}

Node check_list(const Field& field, const Node& node, const std::string& path, const Composed& composed,
                Diagnostics& diagnostics) {
  if (field.non_empty && node.items().empty())
    diagnostics.error(node.origin(), fmt::format("{}: must not be empty", path));
  std::vector<Node> items;
  for (std::size_t i = 0; i < node.items().size(); ++i) {
    items.push_back(
        check_value(*field.element, node.items()[i], fmt::format("{}[{}]", path, i), composed, diagnostics));
  }
  return Node::list(std::move(items), node.origin());
}

Node check_text_map(const Node& node, const std::string& path, const Composed& composed,
                    Diagnostics& diagnostics) {
  Field text;
  text.type = Type::string;
  text.non_empty = true;
  std::vector<Entry> entries;
  for (const Entry& entry : node.entries()) {
    entries.push_back({entry.key, entry.key_origin,
                       check_value(text, entry.value, join_path(path, entry.key), composed, diagnostics)});
  }
  return Node::map(std::move(entries), node.origin());
}

// Any value: what is still text from the command line or the environment is read as YAML reads it.
Node free_value(const Node& node, const std::string& path, Diagnostics& diagnostics) {
  if (node.is_map()) {
    std::vector<Entry> entries;
    for (const Entry& entry : node.entries()) {
      entries.push_back(
          {entry.key, entry.key_origin, free_value(entry.value, join_path(path, entry.key), diagnostics)});
    }
    return Node::map(std::move(entries), node.origin());
  }
  if (node.kind() == Kind::list) {
    std::vector<Node> items;
    for (std::size_t i = 0; i < node.items().size(); ++i)
      items.push_back(free_value(node.items()[i], fmt::format("{}[{}]", path, i), diagnostics));
    return Node::list(std::move(items), node.origin());
  }
  if (!node.typed_by_schema()) return node;
  const std::string text(trimmed(node.as_string()));
  const bool flow = !text.empty() && std::string_view("[{\"'").find(text[0]) != std::string_view::npos;
  if (node.origin().environment || !flow) {
    std::string problem;
    Node value = plain_scalar(text, node.origin(), problem);
    if (!problem.empty()) diagnostics.error(node.origin(), fmt::format("{}: {}", path, problem));
    return value;
  }
  Diagnostics problems;
  Node value = read_yaml(text, node.origin(), problems);
  if (!problems.has_errors()) return value;
  diagnostics.append(problems);
  return Node::invalid(node.origin(), text);
}

}  // namespace

Node check_null(const Field& field, const Node& node, const std::string& path, Diagnostics& diagnostics) {
  const std::string text = node.text();
  if (field.nullable && text == "null") return node;
  const bool map = field.type == Type::section || field.type == Type::options ||
                   field.type == Type::text_map || field.type == Type::free_map;
  std::string message;
  if (text.empty()) {
    message = fmt::format("{}: has no value{}", path,
                          map              ? "; write {} for an empty map"
                          : field.nullable ? "; write null if that is meant"
                                           : fmt::format("; expected {}", describe_type(field)));
  } else if (field.nullable) {
    message = fmt::format("{}: write null instead of '{}'", path, text);
  } else {
    message = fmt::format("{}: cannot be null; expected {}", path, describe_type(field));
  }
  diagnostics.error(node.origin(), std::move(message));
  return Node::invalid(node.origin(), text);
}

void report_wrong_type(const Field& field, const Node& node, const std::string& path,
                       Diagnostics& diagnostics) {
  std::string hint;
  const bool scalar = node.kind() != Kind::list && node.kind() != Kind::map;
  const bool number = field.type == Type::integer || field.type == Type::number;
  if (field.type == Type::boolean && node.kind() == Kind::string && looks_boolean(node.as_string())) {
    hint = "; YAML 1.2 has no other booleans";
  } else if (field.type == Type::string && scalar) {
    hint = "; put it in quotes";
  } else if (field.type == Type::list && scalar) {
    hint = fmt::format("; write [{}]", node.text());
  } else if (number && node.kind() == Kind::string) {
    std::string problem;
    const Node plain = plain_scalar(node.as_string(), node.origin(), problem);
    if (problem.empty() && (plain.kind() == Kind::integer || plain.kind() == Kind::number)) {
      hint = " (text); take the quotes away";
    } else if (!field.values.empty()) {
      hint = did_you_mean(node.as_string(), field.values);
    }
  }
  diagnostics.error(node.origin(), fmt::format("{}: expected {}, got {}{}", path, describe_type(field),
                                               describe_value(node), hint));
}

Node check_value(const Field& field, const Node& given, const std::string& path, const Composed& composed,
                 Diagnostics& diagnostics) {
  const Node node = given.typed_by_schema() ? typed(field, given, path, diagnostics) : given;
  const Node invalid = Node::invalid(node.origin(), node.text());
  if (node.kind() == Kind::invalid) return node;
  if (node.is_null()) return check_null(field, node, path, diagnostics);
  if (field.type == Type::choice && node.kind() == Kind::string) {
    if (takes_word(field, node.as_string())) return node;
    diagnostics.error(node.origin(),
                      fmt::format("{}: {} is not {}{}", path, quoted_for_message(node.as_string()),
                                  describe_type(field), did_you_mean(node.as_string(), field.values)));
    return invalid;
  }
  if (node.kind() == Kind::string && field.type != Type::string && takes_word(field, node.as_string()))
    return node;
  if (!has_type(field, node)) {
    report_wrong_type(field, node, path, diagnostics);
    return invalid;
  }
  switch (field.type) {
    case Type::integer:
    case Type::number:
      if (!in_range(field, node.as_number())) {
        diagnostics.error(node.origin(), fmt::format("{}: {} is out of range; expected {}", path, node.text(),
                                                     describe_type(field)));
        return invalid;
      }
      if (field.type == Type::number) return Node::number(node.as_number(), node.origin());
      return Node::integer(node.as_integer(), node.origin());
    case Type::string:
      if (field.non_empty && trimmed(node.as_string()).empty()) {
        diagnostics.error(node.origin(), fmt::format("{}: must not be empty", path));
        return invalid;
      }
      return absolute_path_value(field, node, composed);
    case Type::list:
      return check_list(field, node, path, composed, diagnostics);
    case Type::text_map:
      return check_text_map(node, path, composed, diagnostics);
    case Type::free_map:
      return free_value(node, path, diagnostics);
    default:
      return node;
  }
}

Node absolute_path_value(const Field& field, const Node& node, const Composed& composed) {
  const bool input = field.meaning == Meaning::input_path;
  if (node.kind() != Kind::string || (!input && field.meaning != Meaning::output_path)) return node;
  std::error_code ignored;
  const fs::path given(node.as_string());
  const fs::path& set_directory = composed.surroundings.current_directory;
  const fs::path current =
      fs::absolute(set_directory.empty() ? fs::current_path(ignored) : set_directory, ignored);
  fs::path found = current / given;
  if (input && given.is_relative() && !fs::exists(found, ignored)) {
    const bool in_file = node.origin().kind == Origin::Kind::file;
    const std::string beside = in_file                       ? *node.origin().source
                               : composed.main_files.empty() ? std::string()
                                                             : composed.main_files.front();
    const fs::path folder = (current / beside).parent_path();
    for (const fs::path& candidate : {folder / given, folder / ".." / given}) {
      if (!beside.empty() && fs::exists(candidate, ignored)) {
        found = candidate;
        break;
      }
    }
  }
  return Node::string(found.lexically_normal().string(), node.origin());
}

}  // namespace tetrad::config

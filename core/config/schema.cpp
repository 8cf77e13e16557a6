#include "config/schema.h"

#include <fmt/format.h>
#include <algorithm>

namespace tetrad::config {
namespace {

constexpr std::string_view integer_pattern = "<n>";

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) {
    if (!text.empty()) text += ", ";
    text += word;
  }
  return text;
}

std::string bound_text(const Field& field, double bound) {
  if (field.type == Type::integer && bound >= -9e15 && bound <= 9e15) {
    return std::to_string(static_cast<std::int64_t>(bound));
  }
  return fmt::format("{}", bound);
}

void collect_paths(const Field& section, const std::string& path, std::vector<std::string>& paths) {
  for (const Field& field : section.fields) {
    const std::string inner = join_path(path, field.key);  // not paths.back(): paths grows below
    paths.push_back(inner);
    if (field.type == Type::section) collect_paths(field, inner, paths);
  }
}

}  // namespace

const Field* Field::find(std::string_view field_key) const noexcept {
  const auto found =
      std::find_if(fields.begin(), fields.end(), [&](const Field& f) { return f.key == field_key; });
  return found == fields.end() ? nullptr : &*found;
}

std::string describe_range(const Field& field) {
  std::string text;
  if (field.min) text = fmt::format("{} {}", field.exclusive_min ? ">" : ">=", bound_text(field, *field.min));
  if (field.max) {
    text += fmt::format("{}{} {}", text.empty() ? "" : " and ",
                        field.exclusive_max ? "<" : "<=", bound_text(field, *field.max));
  }
  return text;
}

std::string describe_type(const Field& field) {
  std::string text;
  switch (field.type) {
    case Type::boolean:
      text = "true or false";
      break;
    case Type::integer:
      text = "an integer";
      break;
    case Type::number:
      text = "a number";
      break;
    case Type::string:
      text =
          field.meaning == Meaning::input_path || field.meaning == Meaning::output_path ? "a path" : "text";
      break;
    case Type::choice:
      text = "one of " + joined(field.values);
      break;
    case Type::list:
      text = field.element && field.element->type == Type::free_map ? "a list of maps" : "a list of texts";
      break;
    case Type::section:
    case Type::options:
      text = "a map of keys";
      break;
    case Type::text_map:
      text = "a map of texts";
      break;
    case Type::free_map:
      text = "a map";
      break;
  }
  if (const std::string range = describe_range(field); !range.empty()) text += " " + range;
  if (field.type != Type::choice && !field.values.empty()) text += ", or " + joined(field.values);
  if (field.nullable) text += ", or null";
  return text;
}

bool takes_word(const Field& field, std::string_view word) {
  return std::any_of(field.values.begin(), field.values.end(), [&](const std::string& value) {
    if (!value.ends_with(integer_pattern)) return word == value;
    const std::string_view stem = std::string_view(value).substr(0, value.size() - integer_pattern.size());
    if (!word.starts_with(stem)) return false;
    const std::string_view digits = word.substr(stem.size());
    return !digits.empty() && digits.size() <= 9 && (digits.size() == 1 || digits[0] != '0') &&
           digits.find_first_not_of("0123456789") == std::string_view::npos;
  });
}

bool in_range(const Field& field, double value) {
  if (field.min && (field.exclusive_min ? value <= *field.min : value < *field.min)) return false;
  return !(field.max && (field.exclusive_max ? value >= *field.max : value > *field.max));
}

const Field* find_field(const Field& root, std::string_view path, std::string_view* rest) {
  if (rest != nullptr) *rest = {};
  const Field* field = &root;
  while (!path.empty()) {
    const std::size_t dot = path.find('.');
    field = field->find(path.substr(0, dot));
    path = dot == std::string_view::npos ? std::string_view() : path.substr(dot + 1);
    if (field == nullptr || path.empty()) return field;
    if (field->type == Type::options) {
      if (rest != nullptr) *rest = path;
      return rest != nullptr ? field : nullptr;
    }
  }
  return field;
}

std::vector<std::string> all_paths(const Field& root) {
  std::vector<std::string> paths;
  collect_paths(root, {}, paths);
  return paths;
}

}  // namespace tetrad::config

#include "config/option_schema.h"

#include <tetrad/base/error.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <utility>

namespace tetrad::config {
namespace {

using nlohmann::json;

struct Reader {
  const std::string& id;
  std::size_t index = 0;
  std::string key;

  [[noreturn]] void refuse(const std::string& what) const {
    const std::string option = key.empty() ? fmt::format("#{}", index + 1) : "'" + key + "'";
    throw Error(
        ExitCode::plugin_refused,
        fmt::format(
            "[plugin] plugin '{}': option {} in its metadata: {}; rebuild the plugin with a corrected "
            "plugin.json",
            id, option, what));
  }

  std::string text(const json& object, const char* name) const {
    const auto found = object.find(name);
    if (found == object.end() || !found->is_string() || found->get_ref<const std::string&>().empty()) {
      refuse(fmt::format("'{}' must be a non-empty text", name));
    }
    return found->get<std::string>();
  }

  std::optional<double> bound(const json& object, const char* name, Type type) const {
    const auto found = object.find(name);
    if (found == object.end() || found->is_null()) return std::nullopt;
    if (type != Type::integer && type != Type::number)
      refuse(fmt::format("'{}' is for types int and number only", name));
    if (!found->is_number()) refuse(fmt::format("'{}' must be a number", name));
    return found->get<double>();
  }

  Type type(const json& object) const {
    const std::string name = text(object, "type");
    if (name == "bool") return Type::boolean;
    if (name == "int") return Type::integer;
    if (name == "number") return Type::number;
    if (name == "string") return Type::string;
    if (name == "enum") return Type::choice;
    refuse(fmt::format("unknown type '{}'; known are bool, int, number, string, enum", name));
  }

  Node default_value(const json& value, const Field& field) const {
    const Origin origin = Origin::schema_default();
    switch (field.type) {
      case Type::boolean:
        if (value.is_boolean()) return Node::boolean(value.get<bool>(), origin);
        break;
      case Type::integer:
        if (value.is_number_integer() &&
            !(value.is_number_unsigned() && value.get<std::uint64_t>() > INT64_MAX)) {
          return Node::integer(value.get<std::int64_t>(), origin);
        }
        break;
      case Type::number:
        if (value.is_number()) return Node::number(value.get<double>(), origin);
        break;
      default:
        if (value.is_string()) return Node::string(value.get<std::string>(), origin);
        break;
    }
    refuse(fmt::format("the default {} is not {}", value.dump(), describe_type(field)));
  }

  Field field(const json& object) const {
    Field result;
    result.key = key;
    result.type = type(object);
    result.min = bound(object, "min", result.type);
    result.max = bound(object, "max", result.type);
    if (const auto values = object.find("values"); values != object.end() && !values->is_null()) {
      if (result.type != Type::choice) refuse("'values' is for type enum only");
      if (!values->is_array()) refuse("'values' must be a list of texts");
      for (const json& value : *values) {
        if (!value.is_string()) refuse("'values' must be a list of texts");
        result.values.push_back(value.get<std::string>());
      }
    }
    if (result.type == Type::choice && result.values.empty()) refuse("type enum needs 'values'");
    if (const auto doc = object.find("doc"); doc != object.end()) {
      if (!doc->is_string()) refuse("'doc' must be a text");
      result.doc = doc->get<std::string>();
    }
    if (object.contains("deprecated_by")) result.deprecated_by = text(object, "deprecated_by");
    const auto value = object.find("default");
    const bool has_default = value != object.end() && !value->is_null();
    result.required = !has_default && result.deprecated_by.empty();
    if (has_default) {
      result.default_value = default_value(*value, result);
      const Node& node = *result.default_value;
      const bool numeric = node.kind() == Kind::integer || node.kind() == Kind::number;
      const bool fits = numeric                       ? in_range(result, node.as_number())
                        : result.type == Type::choice ? takes_word(result, node.as_string())
                                                      : true;
      if (!fits) refuse(fmt::format("the default {} is not {}", value->dump(), describe_type(result)));
    }
    return result;
  }
};

const Field* schema_find(const OptionSchema& schema, const std::string& key) {
  for (const Field& field : schema.fields) {
    if (field.key == key) return &field;
  }
  return nullptr;
}

}  // namespace

OptionSchema option_schema_from_json(std::string kind, std::string id, const json& options) {
  OptionSchema schema{std::move(kind), std::move(id), {}};
  Reader reader{schema.id, 0, {}};
  if (options.is_null()) return schema;
  if (!options.is_array()) {
    throw Error(ExitCode::plugin_refused,
                fmt::format("[plugin] plugin '{}': 'options' in its metadata must be a list", schema.id));
  }
  for (const json& object : options) {
    reader.key.clear();
    if (!object.is_object()) reader.refuse("must be an object");
    reader.key = reader.text(object, "key");
    if (reader.key.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") !=
        std::string::npos) {
      reader.refuse("a key consists of letters, digits, '_' and '-'");
    }
    for (const Field& other : schema.fields) {
      if (other.key == reader.key) reader.refuse("stands twice");
    }
    schema.fields.push_back(reader.field(object));
    ++reader.index;
  }
  for (const Field& field : schema.fields) {
    reader.key = field.key;
    const Field* successor = field.deprecated_by.empty() ? nullptr : schema_find(schema, field.deprecated_by);
    if (!field.deprecated_by.empty() && (successor == nullptr || !successor->deprecated_by.empty())) {
      reader.refuse("'deprecated_by' must name another option that is not deprecated");
    }
  }
  return schema;
}

Options options_from_json(const json& options) {
  std::vector<std::pair<std::string, OptionValue>> values;
  if (!options.is_object()) throw Error(ExitCode::usage, "[config] plugin options must be a JSON object");
  for (const auto& [key, value] : options.items()) {
    switch (value.type()) {
      case json::value_t::boolean:
        values.emplace_back(key, value.get<bool>());
        break;
      case json::value_t::number_integer:
      case json::value_t::number_unsigned:
        values.emplace_back(key, value.get<std::int64_t>());
        break;
      case json::value_t::number_float:
        values.emplace_back(key, value.get<double>());
        break;
      case json::value_t::string:
        values.emplace_back(key, value.get<std::string>());
        break;
      default:
        throw Error(ExitCode::usage,
                    fmt::format("[config] plugin option '{}' is neither boolean, number nor text: {}", key,
                                value.dump()));
    }
  }
  return Options(std::move(values));
}

}  // namespace tetrad::config

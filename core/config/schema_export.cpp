#include "config/schema_export.h"

#include <tetrad/base/error.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>
#include <vector>

#include "config/emit.h"
#include "config/suggest.h"

namespace tetrad::config {
namespace {

using nlohmann::json;

std::string default_text(const Field& field) {
  if (field.default_value) return to_json(*field.default_value).dump();
  if (field.nullable) return "null";
  if (field.type == Type::text_map || field.type == Type::free_map || field.type == Type::options)
    return "{}";
  return "required";
}

// --- JSON Schema
// ---------------------------------------------------------------------------------------------------

json field_schema(const Field& field, std::span<const OptionSchema> plugins);

json properties(const std::vector<Field>& fields, std::span<const OptionSchema> plugins) {
  json result = json::object();
  for (const Field& field : fields) result[field.key] = field_schema(field, plugins);
  return result;
}

json map_schema(const std::vector<Field>& fields, std::span<const OptionSchema> plugins) {
  return {{"type", "object"}, {"additionalProperties", false}, {"properties", properties(fields, plugins)}};
}

void add_bounds(const Field& field, json& schema) {
  const auto bound = [&](double value) {
    return field.type == Type::integer ? json(static_cast<std::int64_t>(value)) : json(value);
  };
  if (field.min) schema[field.exclusive_min ? "exclusiveMinimum" : "minimum"] = bound(*field.min);
  if (field.max) schema[field.exclusive_max ? "exclusiveMaximum" : "maximum"] = bound(*field.max);
}

// The words of a field: a list of constants and patterns.
json word_schemas(const Field& field) {
  json constants = json::array();
  json alternatives = json::array();
  for (const std::string& value : field.values) {
    if (value.ends_with("<n>")) {
      alternatives.push_back(
          {{"type", "string"}, {"pattern", "^" + value.substr(0, value.size() - 3) + "(0|[1-9][0-9]*)$"}});
    } else {
      constants.push_back(value);
    }
  }
  if (!constants.empty()) alternatives.insert(alternatives.begin(), json{{"enum", std::move(constants)}});
  return alternatives;
}

// An options map: any keys, unless the plugin named beside it is known (section_schema adds that condition).
json base_schema(const Field& field, std::span<const OptionSchema> plugins) {
  switch (field.type) {
    case Type::boolean:
      return {{"type", "boolean"}};
    case Type::integer:
      return {{"type", "integer"}};
    case Type::number:
      return {{"type", "number"}};
    case Type::string: {
      json schema = {{"type", "string"}};
      if (field.non_empty) schema["minLength"] = 1;
      return schema;
    }
    case Type::choice:
      return json::object();
    case Type::list: {
      json schema = {{"type", "array"}};
      if (field.non_empty) schema["minItems"] = 1;
      if (field.element) schema["items"] = field_schema(*field.element, plugins);
      return schema;
    }
    case Type::section:
      return map_schema(field.fields, plugins);
    case Type::options:
    case Type::free_map:
      return {{"type", "object"}};
    case Type::text_map:
      return {{"type", "object"}, {"additionalProperties", {{"type", "string"}, {"minLength", 1}}}};
  }
  return json::object();
}

json field_schema(const Field& field, std::span<const OptionSchema> plugins) {
  json schema = base_schema(field, plugins);
  add_bounds(field, schema);
  json alternatives = word_schemas(field);
  if (field.type != Type::choice && (field.nullable || !alternatives.empty()))
    alternatives.push_back(std::move(schema));
  if (field.nullable) alternatives.push_back({{"type", "null"}});
  if (alternatives.size() == 1) {
    schema = alternatives[0];
  } else if (alternatives.size() > 1) {
    schema = {{"anyOf", std::move(alternatives)}};
  }
  std::string doc = field.doc;
  if (!field.unit.empty()) doc += fmt::format(" Unit: {}.", field.unit);
  if (!doc.empty()) schema["description"] = doc;
  if (field.default_value) schema["default"] = to_json(*field.default_value);
  if (!field.deprecated_by.empty()) schema["deprecated"] = true;

  json conditions = json::array();
  json ids = json::array();
  const Field* options = field.find("options");
  for (const OptionSchema& plugin : plugins) {
    if (options == nullptr || plugin.kind != options->plugin_kind) continue;
    ids.push_back(plugin.id);
    conditions.push_back(
        {{"if", {{"properties", {{"plugin", {{"const", plugin.id}}}}}, {"required", {"plugin"}}}},
         {"then", {{"properties", {{"options", map_schema(plugin.fields, {})}}}}}});
  }
  if (!ids.empty()) schema["properties"]["plugin"]["examples"] = std::move(ids);
  const Field* plugin = field.find("plugin");
  if (options != nullptr && plugin != nullptr && plugin->nullable) {
    // Where no plugin is named there is nobody to take options.
    conditions.push_back(
        {{"anyOf", {{{"required", {"plugin"}}}, {{"properties", {{"options", {{"maxProperties", 0}}}}}}}}});
  }
  if (!conditions.empty()) schema["allOf"] = std::move(conditions);
  return schema;
}

// --- listing and Markdown
// ------------------------------------------------------------------------------------------

std::string type_text(const Field& field) {
  std::string text = describe_type(field);
  if (!field.unit.empty()) text += fmt::format(" ({})", field.unit);
  return text;
}

// `text` in lines of at most `width` bytes, broken at spaces.
std::string wrapped(std::string_view text, const std::string& indentation, std::size_t width) {
  std::string result;
  while (!text.empty()) {
    std::size_t end = text.size();
    if (indentation.size() + text.size() > width) {
      end = text.rfind(' ', width - indentation.size());
      if (end == std::string_view::npos || end == 0) end = text.find(' ');
      if (end == std::string_view::npos) end = text.size();
    }
    result += indentation + std::string(text.substr(0, end)) + "\n";
    text.remove_prefix(end);
    while (text.starts_with(' ')) text.remove_prefix(1);
  }
  return result;
}

void list_field(const Field& field, const std::string& path, std::span<const OptionSchema> plugins,
                std::string& out) {
  constexpr std::size_t width = 100;
  if (field.type == Type::section) {
    if (!path.empty()) out += "\n";
    if (!path.empty()) out += path + ":\n";
    out += wrapped(field.doc, path.empty() ? "" : "  ", width);
    for (const Field& child : field.fields) list_field(child, join_path(path, child.key), plugins, out);
    return;
  }
  out += fmt::format("\n{}: {}", path, type_text(field));
  if (!field.deprecated_by.empty()) out += fmt::format(" [now called {}]", field.deprecated_by);
  const std::string value = default_text(field);
  out += value == "required" ? " [required]\n" : fmt::format(" [default: {}]\n", value);
  out += wrapped(field.doc, "  ", width);
  if (field.type != Type::options) return;
  for (const OptionSchema& plugin : plugins) {
    if (plugin.kind != field.plugin_kind) continue;
    out += fmt::format("\n{} of plugin {}:{}\n", path, plugin.id, plugin.fields.empty() ? " none" : "");
    for (const Field& option : plugin.fields) list_field(option, join_path(path, option.key), plugins, out);
  }
}

std::string table_cell(std::string text) {
  for (std::size_t at = 0; (at = text.find('|', at)) != std::string::npos; at += 2) text.insert(at, "\\");
  return text;
}

// Outside code "<n>" would be taken for HTML.
std::string type_cell(const Field& field) {
  std::string text = table_cell(type_text(field));
  for (std::size_t at = 0; (at = text.find("<n>", at)) != std::string::npos; at += 4) text.insert(at, "\\");
  return text;
}

void add_table(const std::vector<Field>& fields, std::string& out) {
  out += "| key | type | default | |\n|---|---|---|---|\n";
  for (const Field& field : fields) {
    if (field.type == Type::section) continue;
    const std::string value = default_text(field);
    out += fmt::format("| `{}` | {} | {} | {} |\n", field.key, type_cell(field),
                       value == "required" ? value : "`" + table_cell(value) + "`", table_cell(field.doc));
  }
}

}  // namespace

json json_schema(std::span<const OptionSchema> plugins) {
  json schema = field_schema(core_schema(), plugins);
  schema["$schema"] = "http://json-schema.org/draft-07/schema#";
  schema["title"] = "Tetrad config";
  const json file = {{"type", "string"}, {"minLength", 1}};
  schema["properties"]["extends"] = {
      {"description",
       "Configs that this one builds on, relative to this file. Maps merge; scalars and lists replace."},
      {"anyOf", json::array({file, json{{"type", "array"}, {"items", file}}})}};
  return schema;
}

std::string schema_listing(std::span<const OptionSchema> plugins, const std::string& only) {
  const Field* field = find_field(core_schema(), only);
  if (field == nullptr) {
    throw Error(ExitCode::usage, fmt::format("[config] no such key in the schema: '{}'{}", only,
                                             did_you_mean(only, all_paths(core_schema()))));
  }
  std::string out;
  list_field(*field, only, plugins, out);
  if (out.starts_with('\n')) out.erase(0, 1);
  return out;
}

std::string schema_markdown(std::span<const OptionSchema> plugins) {
  const Field& root = core_schema();
  std::string out = fmt::format("## Keys\n\n{}\n\n", root.doc);
  add_table(root.fields, out);
  for (const Field& section : root.fields) {
    if (section.type != Type::section) continue;
    out += fmt::format("\n### {}\n\n{}\n\n", section.key, section.doc);
    add_table(section.fields, out);
    for (const Field& inner : section.fields) {
      if (inner.type != Type::section) continue;
      out += fmt::format("\n#### {}.{}\n\n{}\n\n", section.key, inner.key, inner.doc);
      add_table(inner.fields, out);
    }
    for (const OptionSchema& plugin : plugins) {
      if (section.find("options") == nullptr || plugin.kind != section.find("options")->plugin_kind) continue;
      out += fmt::format("\n#### {}.options of {}\n\n", section.key, plugin.id);
      if (plugin.fields.empty()) {
        out += "None.\n";
      } else {
        add_table(plugin.fields, out);
      }
    }
  }
  return out;
}

}  // namespace tetrad::config

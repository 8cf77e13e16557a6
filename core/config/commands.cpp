#include "config/commands.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <ostream>
#include <span>

#include "config/diff.h"
#include "config/emit.h"
#include "config/schema_export.h"
#include "config/suggest.h"

namespace tetrad::config {
namespace {

using nlohmann::json;

Resolved resolve_file(const std::string& file, const std::vector<std::string>& sets,
                      const CommandContext& context) {
  Resolved resolved = resolve(std::span(&file, 1), sets, context.option_schema, context.surroundings);
  for (const Diagnostic& warning : resolved.warnings) context.err << warning.to_string() << '\n';
  return resolved;
}

json to_json(const Diagnostic& diagnostic) {
  const Origin& where = diagnostic.where;
  const bool in_file = where.kind == Origin::Kind::file;
  return {{"file", in_file ? json(*where.source) : json(nullptr)},
          {"line", in_file && where.line > 0 ? json(where.line) : json(nullptr)},
          {"column", in_file && where.line > 0 ? json(where.column) : json(nullptr)},
          {"message", diagnostic.message},
          {"text", diagnostic.to_string()}};
}

json to_json(const std::vector<Diagnostic>& diagnostics) {
  json list = json::array();
  for (const Diagnostic& diagnostic : diagnostics) list.push_back(to_json(diagnostic));
  return list;
}

void print(const CommandContext& context, const json& value) {
  context.out << value.dump(2) << '\n';
}

void collect_origins(const Node& node, const std::string& path, json& origins) {
  if (!node.is_map() || node.entries().empty()) {
    origins[path] = node.origin().label();
    return;
  }
  for (const Entry& entry : node.entries()) collect_origins(entry.value, join_path(path, entry.key), origins);
}

std::string shown(const std::optional<Node>& value) {
  return value ? to_json(*value).dump() : "(not set)";
}

}  // namespace

int validate_command(const ValidateArguments& arguments, const CommandContext& context) {
  std::vector<Diagnostic> errors;
  json files = json::array();
  for (const std::string& file : arguments.files) {
    try {
      const Resolved resolved =
          resolve(std::span(&file, 1), arguments.sets, context.option_schema, context.surroundings);
      files.push_back({{"file", file},
                       {"ok", true},
                       {"hash", config_hash(resolved.root)},
                       {"warnings", to_json(resolved.warnings)}});
      if (arguments.json) continue;
      for (const Diagnostic& warning : resolved.warnings) context.err << warning.to_string() << '\n';
      for (const std::string& path : resolved.unchecked) {
        context.err << fmt::format("{}: warning: {} not checked: no metadata of its plugin\n", file, path);
      }
      context.out << file << ": ok\n";
    } catch (const ConfigError& e) {
      files.push_back({{"file", file}, {"ok", false}, {"errors", to_json(e.errors())}});
      errors.insert(errors.end(), e.errors().begin(), e.errors().end());
    }
  }
  if (!arguments.json && !errors.empty()) throw ConfigError(std::move(errors));
  if (arguments.json) print(context, {{"ok", errors.empty()}, {"files", std::move(files)}});
  return static_cast<int>(errors.empty() ? ExitCode::ok : ConfigError(std::move(errors)).code());
}

int show_command(const ShowArguments& arguments, const CommandContext& context) {
  const Resolved resolved = resolve_file(arguments.config.file, arguments.config.sets, context);
  const Node* node = find_path(resolved.root, arguments.key);
  if (node == nullptr) {
    throw Error(ExitCode::usage, fmt::format("[config] no such key: '{}'{}", arguments.key,
                                             did_you_mean(arguments.key, all_paths(core_schema()))));
  }
  if (arguments.json && arguments.origins) {
    json origins = json::object();
    collect_origins(*node, arguments.key, origins);
    print(
        context,
        {{"config", to_json(*node)}, {"origins", std::move(origins)}, {"hash", config_hash(resolved.root)}});
  } else if (arguments.json) {
    print(context, to_json(*node));
  } else if (node->is_map()) {
    context.out << to_yaml(*node, arguments.origins ? ShowOrigins::yes : ShowOrigins::no);
  } else {
    context.out << to_json(*node).dump();
    if (arguments.origins) context.out << "  # " << node->origin().label();
    context.out << '\n';
  }
  return 0;
}

int schema_command(const SchemaArguments& arguments, const CommandContext& context) {
  const std::vector<OptionSchema> plugins =
      context.all_schemas ? context.all_schemas() : std::vector<OptionSchema>();
  if (arguments.json) {
    print(context, json_schema(plugins));
  } else if (arguments.markdown) {
    context.out << schema_markdown(plugins);
  } else {
    context.out << schema_listing(plugins, arguments.key);
  }
  return 0;
}

int diff_command(const DiffArguments& arguments, const CommandContext& context) {
  const Resolved a = resolve_file(arguments.a, arguments.sets, context);
  const Resolved b = resolve_file(arguments.b, arguments.sets, context);
  const std::vector<Change> changes = diff(a.root, b.root);
  if (arguments.json) {
    json list = json::array();
    for (const Change& change : changes) {
      json item = {{"path", change.path}};
      if (change.a) item["a"] = {{"value", to_json(*change.a)}, {"origin", change.a->origin().label()}};
      if (change.b) item["b"] = {{"value", to_json(*change.b)}, {"origin", change.b->origin().label()}};
      list.push_back(std::move(item));
    }
    print(context,
          {{"a", arguments.a}, {"b", arguments.b}, {"equal", changes.empty()}, {"changes", std::move(list)}});
    return 0;
  }
  if (changes.empty()) context.out << "no difference\n";
  for (const Change& change : changes) {
    context.out << change.path << '\n';
    context.out << fmt::format("  {}: {}{}\n", arguments.a, shown(change.a),
                               change.a ? "  # " + change.a->origin().label() : "");
    context.out << fmt::format("  {}: {}{}\n", arguments.b, shown(change.b),
                               change.b ? "  # " + change.b->origin().label() : "");
  }
  return 0;
}

}  // namespace tetrad::config

#include "config/validate.h"

#include <fmt/format.h>
#include <algorithm>
#include <stdexcept>
#include <utility>

#include "config/scalar.h"
#include "config/suggest.h"
#include "config/validate_value.h"

namespace tetrad::config {
namespace {

std::vector<std::string> keys_of(const Field& section) {
  std::vector<std::string> keys;
  for (const Field& field : section.fields) {
    if (field.deprecated_by.empty()) keys.push_back(field.key);
  }
  return keys;
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

class Validator {
 public:
  Validator(const Composed& composed, std::span<const OptionSchema> schemas, Diagnostics& diagnostics)
      : composed_(composed), schemas_(schemas), diagnostics_(diagnostics) {}

  Node run(const Node& root) {
    const Entry whole{"", whole_file(), root};
    Node resolved = section(core_schema(), &whole, {}, "at the top level");
    check_stride(resolved);
    check_feed(resolved);
    return resolved;
  }

  std::vector<std::string> unchecked;

 private:
  // Where to report what is missing from the config as a whole.
  Origin whole_file() const {
    if (composed_.main_files.empty()) return {};
    return Origin::file(std::make_shared<const std::string>(composed_.main_files.back()), 1, 1);
  }

  // `given` is null when the section does not stand in the config. `place` completes "unknown key 'x' ...".
  Node section(const Field& schema, const Entry* given, const std::string& path, const std::string& place) {
    static const Node nothing = Node::map({}, Origin::schema_default());
    Node source = nothing;
    bool usable = true;
    if (given != nullptr) {
      source = given->value;
      usable = source.is_map();
      if (source.is_null()) {
        check_null(schema, source, path, diagnostics_);
      } else if (!usable && source.kind() != Kind::invalid) {
        report_wrong_type(schema, source, path, diagnostics_);
      }
      if (!usable) source = nothing;
    }
    source = without_deprecated(schema, source, path);
    const std::vector<std::string> misspelt = report_unknown_keys(schema, source, path, place);

    std::vector<Entry> entries;
    for (const Field& field : schema.fields) {
      if (!field.deprecated_by.empty()) continue;
      const Entry* entry = source.find(field.key);
      const std::string child = join_path(path, field.key);
      Node value;
      if (field.type == Type::section) {
        value = section(field, entry, child, "in " + child);
      } else if (field.type == Type::options) {
        value = options(field, entry, child, find_entry(entries, "plugin"));
      } else if (entry != nullptr) {
        value = check_value(field, entry->value, child, composed_, diagnostics_);
      } else {
        value = missing(field, child, usable && !contains(misspelt, field.key), given);
      }
      entries.push_back(
          {field.key, entry == nullptr ? Origin::schema_default() : entry->key_origin, std::move(value)});
    }
    return Node::map(std::move(entries), source.origin());
  }

  Node missing(const Field& field, const std::string& path, bool report, const Entry* parent) {
    if (field.default_value) return absolute_path_value(field, *field.default_value, composed_);
    if (field.nullable) return Node::null(Origin::schema_default());
    if (field.type == Type::text_map || field.type == Type::free_map)
      return Node::map({}, Origin::schema_default());
    if (report && !composed_.incomplete) {
      diagnostics_.error(
          parent == nullptr ? whole_file() : parent->key_origin,
          fmt::format("missing required key '{}'{}{}", path, field.doc.empty() ? "" : ": ", field.doc));
    }
    return Node::invalid(Origin::schema_default());
  }

  Node options(const Field& field, const Entry* given, const std::string& path, const Entry* plugin) {
    const bool named = plugin != nullptr && plugin->value.kind() == Kind::string;
    const auto schema = std::find_if(schemas_.begin(), schemas_.end(), [&](const OptionSchema& s) {
      return named && s.kind == field.plugin_kind && s.id == plugin->value.as_string();
    });
    if (schema != schemas_.end()) {
      Field map = field;
      map.fields = schema->fields;
      return section(map, given, path, fmt::format("in {} (plugin {})", path, schema->id));
    }
    const bool none = plugin != nullptr && plugin->value.is_null();  // a nullable plugin that is not named
    if (!none) unchecked.push_back(path);
    if (given == nullptr) return Node::map({}, Origin::schema_default());
    if (none && given->value.is_map() && !given->value.entries().empty()) {
      diagnostics_.error(given->key_origin,
                         fmt::format("{} is given, but no plugin is named beside it", path));
    }
    if (given->value.is_null()) return check_null(field, given->value, path, diagnostics_);
    if (given->value.kind() == Kind::invalid) return given->value;
    if (!given->value.is_map()) {
      report_wrong_type(field, given->value, path, diagnostics_);
      return Node::invalid(given->value.origin());
    }
    return untyped_options(given->value);
  }

  // Options of a plugin that is not known here: --set values are read by YAML's rules for plain values.
  static Node untyped_options(const Node& map) {
    std::vector<Entry> entries;
    for (const Entry& entry : map.entries()) {
      Node value = entry.value;
      if (value.typed_by_schema()) {
        std::string problem;
        value = plain_scalar(value.as_string(), value.origin(), problem);
        if (!problem.empty()) value = Node::string(entry.value.as_string(), value.origin());
      }
      entries.push_back({entry.key, entry.key_origin, std::move(value)});
    }
    return Node::map(std::move(entries), map.origin());
  }

  Node without_deprecated(const Field& schema, const Node& source, const std::string& path) {
    std::vector<Entry> entries;
    for (const Entry& entry : source.entries()) {
      const Field* field = schema.find(entry.key);
      if (field == nullptr || field->deprecated_by.empty()) {
        entries.push_back(entry);
        continue;
      }
      const std::string old_path = join_path(path, entry.key);
      const std::string new_path = join_path(path, field->deprecated_by);
      if (source.find(field->deprecated_by) != nullptr) {
        diagnostics_.error(
            entry.key_origin,
            fmt::format("'{}' is the former name of '{}', which is set too; remove it", old_path, new_path));
      } else {
        diagnostics_.warning(entry.key_origin, fmt::format("'{}' is now called '{}'", old_path, new_path));
        entries.push_back({field->deprecated_by, entry.key_origin, entry.value});
      }
    }
    return Node::map(std::move(entries), source.origin());
  }

  // Returns the keys that the unknown ones were taken for.
  std::vector<std::string> report_unknown_keys(const Field& schema, const Node& source,
                                               const std::string& path, const std::string& place) {
    std::vector<std::string> taken_for;
    const std::vector<std::string> keys = keys_of(schema);
    for (const Entry& entry : source.entries()) {
      if (schema.find(entry.key) != nullptr) continue;
      std::string message = fmt::format("unknown key {} {}", quoted_for_message(entry.key), place);
      if (const auto near = nearest(entry.key, keys)) {
        taken_for.push_back(*near);
        message += fmt::format("; did you mean '{}'?",
                               entry.key_origin.kind == Origin::Kind::set ? join_path(path, *near) : *near);
      } else if (const std::string elsewhere = same_key_elsewhere(entry.key); !elsewhere.empty()) {
        message += fmt::format("; did you mean {}?", elsewhere);
      } else {
        message += keys.empty() ? "; it takes no keys" : "; valid keys: " + joined(keys);
      }
      diagnostics_.error(entry.key_origin, std::move(message));
    }
    return taken_for;
  }

  // The paths of the core schema that end in this key, quoted: "'a.key' or 'b.key'"; "" when there is none or
  // more than three, which would help nobody.
  static std::string same_key_elsewhere(const std::string& key) {
    std::vector<std::string> found;
    for (const std::string& path : all_paths(core_schema())) {
      if (path.ends_with("." + key)) found.push_back("'" + path + "'");
    }
    std::sort(found.begin(), found.end());
    return found.size() > 3 ? std::string() : fmt::format("{}", fmt::join(found, " or "));
  }

  void check_stride(const Node& resolved) {
    const Node* window = find_path(resolved, "eval.window");
    const Node* stride = find_path(resolved, "eval.stride");
    if (window == nullptr || window->kind() != Kind::integer || stride == nullptr ||
        stride->kind() != Kind::integer)
      return;
    if (stride->as_integer() <= window->as_integer()) return;
    diagnostics_.error(
        stride->origin(),
        fmt::format(
            "eval.stride: {} is more than eval.window, {}: tokens between two windows would not be scored",
            stride->as_integer(), window->as_integer()));
  }

  // The schema's pattern takes any number.
  void check_feed(const Node& resolved) {
    const Node* feed = find_path(resolved, "parity.feed");
    if (feed == nullptr || feed->kind() != Kind::string || feed->as_string() != "chunk:0") return;
    diagnostics_.error(feed->origin(), "parity.feed: a chunk has at least one token: chunk:1");
  }

  static const Entry* find_entry(const std::vector<Entry>& entries, std::string_view key) {
    const auto found =
        std::find_if(entries.begin(), entries.end(), [&](const Entry& e) { return e.key == key; });
    return found == entries.end() ? nullptr : &*found;
  }
  static bool contains(const std::vector<std::string>& words, const std::string& word) {
    return std::find(words.begin(), words.end(), word) != words.end();
  }

  const Composed& composed_;
  std::span<const OptionSchema> schemas_;
  Diagnostics& diagnostics_;
};

// The first pair of values below `path` that differ; both null when there is none. `a` or `b` may be null
// (absent).
struct Difference {
  std::string path;
  const Node* pinned = nullptr;
  const Node* actual = nullptr;
};

bool find_difference(const Node* pinned, const Node* actual, const std::string& path, Difference& result) {
  if (pinned == nullptr && actual == nullptr) return false;
  const bool unusable = (pinned != nullptr && pinned->kind() == Kind::invalid) ||
                        (actual != nullptr && actual->kind() == Kind::invalid);
  if (unusable) return false;  // its own error has been reported
  if (pinned != nullptr && actual != nullptr && pinned->is_map() && actual->is_map()) {
    for (const Entry& entry : actual->entries()) {
      if (find_difference(pinned->get(entry.key), &entry.value, join_path(path, entry.key), result))
        return true;
    }
    for (const Entry& entry : pinned->entries()) {
      if (actual->get(entry.key) != nullptr) continue;
      if (find_difference(&entry.value, nullptr, join_path(path, entry.key), result)) return true;
    }
    return false;
  }
  if (pinned != nullptr && actual != nullptr && same_value(*pinned, *actual)) return false;
  result = {path, pinned, actual};
  return true;
}

void check_pins(const Composed& composed, std::span<const OptionSchema> schemas, const Node& resolved,
                Diagnostics& diagnostics) {
  for (const Pin& pin : composed.pins) {
    std::string_view rest;
    if (pin.path == "pin") {
      diagnostics.error(pin.where, "pin: 'pin' itself cannot be pinned");
      continue;
    }
    if (pin.path.empty() || find_field(core_schema(), pin.path, &rest) == nullptr) {
      diagnostics.error(pin.where, fmt::format("pin: unknown key {}{}", quoted_for_message(pin.path),
                                               did_you_mean(pin.path, all_paths(core_schema()))));
      continue;
    }
    Diagnostics ignored;  // what is wrong in the pinning file is reported through the whole config
    const Node pinned = Validator(composed, schemas, ignored).run(pin.tree);
    Difference difference;
    if (!find_difference(find_path(pinned, pin.path), find_path(resolved, pin.path), pin.path, difference))
      continue;
    const bool by_user =
        difference.actual != nullptr && (difference.actual->origin().kind == Origin::Kind::file ||
                                         difference.actual->origin().kind == Origin::Kind::set);
    diagnostics.error(
        by_user ? difference.actual->origin() : pin.where,
        fmt::format("'{}' is pinned to {} by {}: {}", difference.path,
                    difference.pinned == nullptr ? "nothing" : quoted_for_message(difference.pinned->text()),
                    pin.where.prefix(), pin.hint));
  }
}

}  // namespace

const Node& Resolved::at(std::string_view path) const {
  const Node* node = find_path(root, path);
  if (node == nullptr)
    throw std::out_of_range(fmt::format("[config] no such path in the resolved config: {}", path));
  return *node;
}

std::vector<std::string> plugin_search_paths(const Composed& composed) {
  std::vector<std::string> paths;
  const Node* list = find_path(composed.root, "plugins.path");
  const Field* field = find_field(core_schema(), "plugins.path");
  if (list == nullptr || field == nullptr) return paths;
  Diagnostics left_to_validate;
  const Node checked = check_value(*field, *list, "plugins.path", composed, left_to_validate);
  if (checked.kind() != Kind::list) return paths;
  for (const Node& item : checked.items()) {
    if (item.kind() == Kind::string) paths.push_back(item.as_string());
  }
  return paths;
}

Resolved validate(const Composed& composed, std::span<const OptionSchema> schemas, const Diagnostics& more) {
  Diagnostics diagnostics = composed.diagnostics;
  diagnostics.append(more);
  Validator validator(composed, schemas, diagnostics);
  Resolved resolved;
  resolved.root = validator.run(composed.root);
  check_pins(composed, schemas, resolved.root, diagnostics);
  diagnostics.throw_if_errors();
  resolved.files = composed.files;
  resolved.main_files = composed.main_files;
  resolved.sets = composed.sets;
  resolved.warnings = diagnostics.warnings();
  resolved.unchecked = std::move(validator.unchecked);
  return resolved;
}

}  // namespace tetrad::config

#include "config/merge.h"

#include <fmt/format.h>
#include <string>
#include <utility>

#include "config/scalar.h"

namespace tetrad::config {
namespace {

bool is_plugin_section(const Field* field) {
  const Field* options = field == nullptr ? nullptr : field->find("options");
  return options != nullptr && options->type == Type::options;
}

// The base without its options, when `over` chooses another plugin than the base did.
Node without_foreign_options(const Node& base, const Node& over, Diagnostics& diagnostics) {
  const Node* before = base.get("plugin");
  const Node* after = over.get("plugin");
  const Entry* options = base.find("options");
  const bool changes = before != nullptr && after != nullptr && before->kind() == Kind::string &&
                       after->kind() == Kind::string && before->as_string() != after->as_string();
  if (!changes || options == nullptr) return base;
  if (!options->value.is_map() || !options->value.entries().empty()) {
    diagnostics.warning(options->key_origin,
                        fmt::format("these options are for plugin {} and are dropped: {} chooses {}",
                                    quoted_for_message(before->as_string()), after->origin().label(),
                                    quoted_for_message(after->as_string())));
  }
  std::vector<Entry> rest;
  for (const Entry& entry : base.entries()) {
    if (entry.key != "options") rest.push_back(entry);
  }
  return Node::map(std::move(rest), base.origin());
}

}  // namespace

Node merge(const Node& full_base, const Node& over, const Field* field, Diagnostics& diagnostics) {
  if (!full_base.is_map() || !over.is_map()) return over;
  const Node base =
      is_plugin_section(field) ? without_foreign_options(full_base, over, diagnostics) : full_base;
  std::vector<Entry> entries;
  for (const Entry& entry : base.entries()) {
    const Entry* other = over.find(entry.key);
    if (other == nullptr) {
      entries.push_back(entry);
    } else {
      const Field* child = field == nullptr ? nullptr : field->find(entry.key);
      entries.push_back({entry.key, other->key_origin, merge(entry.value, other->value, child, diagnostics)});
    }
  }
  for (const Entry& entry : over.entries()) {
    if (base.find(entry.key) == nullptr) entries.push_back(entry);
  }
  return Node::map(std::move(entries), over.origin());
}

}  // namespace tetrad::config

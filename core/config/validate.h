// From a composed tree to a resolved one: every key checked against the core schema and the option schemas of
// the chosen plugins, every value typed, every default filled in, every pin kept. All errors are found in one
// go and thrown together as one ConfigError. Two stages, because option schemas come from plugins that the
// config itself names:
//   Composed composed = compose(files, sets);
//   for (const ChosenPlugin& p : chosen_plugins(composed)) ... find p's metadata,
//   option_schema_from_json(...) Resolved resolved = validate(composed, schemas);
// resolve() in resolve.h does all three with a callback.
#pragma once

#include "config/compose.h"
#include "config/diagnostics.h"
#include "config/schema.h"
#include "config/tree.h"

#include <span>
#include <string>
#include <vector>

namespace tetrad::config {

struct Resolved {
  Node root;  // every key of the schema, in schema order; each value with its origin
  std::vector<std::string> files;
  std::vector<std::string> main_files;
  std::vector<std::string> sets;
  std::vector<Diagnostic> warnings;
  // Paths of options maps whose plugin's schema was not given ("linear.options"): taken as they stand.
  std::vector<std::string> unchecked;

  // The value at a dotted path. Throws std::out_of_range for a path that is not in the schema.
  const Node& at(std::string_view path) const;
};

// The folders of plugins.path, typed and absolute as they will be in the resolved config: needed to find the
// plugins whose schemas validate() takes. What is wrong with them is left to validate().
std::vector<std::string> plugin_search_paths(const Composed& composed);

// `more` holds errors that the caller met on the way (a plugin that was not found); they are thrown with the
// others. Throws ConfigError.
Resolved validate(const Composed& composed, std::span<const OptionSchema> schemas,
                  const Diagnostics& more = {});

}  // namespace tetrad::config

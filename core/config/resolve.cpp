#include "config/resolve.h"

#include <utility>
#include <vector>

namespace tetrad::config {

Resolved resolve(std::span<const std::string> files, std::span<const std::string> sets,
                 const OptionLookup& lookup, const Surroundings& surroundings) {
  const Composed composed = compose(files, sets, surroundings);
  std::vector<OptionSchema> schemas;
  Diagnostics plugin_errors;
  for (const ChosenPlugin& plugin : chosen_plugins(composed)) {
    if (!lookup) break;
    try {
      if (std::optional<OptionSchema> schema = lookup(plugin.kind, plugin.id))
        schemas.push_back(std::move(*schema));
    } catch (const Error& e) {
      plugin_errors.error(plugin.where, e.what(), e.code());
    }
  }
  return validate(composed, schemas, plugin_errors);
}

}  // namespace tetrad::config

// Merging two layers of a config (internal to the config room).
#pragma once

#include "config/diagnostics.h"
#include "config/schema.h"
#include "config/tree.h"

namespace tetrad::config {

// `over` on top of `base`: maps merge key by key (base's order, new keys last), everything else is replaced.
// `field` is the schema of this place or null; it tells plugin sections, whose `options` go when the plugin
// changes.
Node merge(const Node& base, const Node& over, const Field* field, Diagnostics& diagnostics);

}  // namespace tetrad::config

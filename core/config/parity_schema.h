// The schema of the `parity` section.
#pragma once

#include "config/schema.h"

namespace tetrad::config {

Field parity_section();

}  // namespace tetrad::config

// The schema of the `train` section.
#pragma once

#include "config/schema.h"

namespace tetrad::config {

Field train_section();

}  // namespace tetrad::config

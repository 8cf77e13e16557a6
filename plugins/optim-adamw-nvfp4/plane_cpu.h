// The update of a parameter in NVFP4 planes on the CPU, threaded over blocks.
#pragma once

#include "plane_update.h"

namespace tetrad::optim_adamw_nvfp4 {

void plane_update_cpu(const PlaneArgs& args, int planes);

}  // namespace tetrad::optim_adamw_nvfp4

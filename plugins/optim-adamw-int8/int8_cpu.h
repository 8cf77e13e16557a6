// The 8-bit update on the CPU, threaded over blocks of 256.
#pragma once

#include "int8_update.h"

namespace tetrad::optim_adamw_int8 {

void int8_update_cpu(const Int8Args& args);

}  // namespace tetrad::optim_adamw_int8

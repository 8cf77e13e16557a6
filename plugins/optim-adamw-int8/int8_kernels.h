// The CUDA half of optim-adamw-int8: null in <id>.so; in <id>.cuda.so it enqueues on the current stream.
#pragma once

#include "int8_update.h"

namespace tetrad::optim_adamw_int8 {

using Int8Kernel = void (*)(const Int8Args& args, int device);

Int8Kernel cuda_int8_kernel() noexcept;

}  // namespace tetrad::optim_adamw_int8

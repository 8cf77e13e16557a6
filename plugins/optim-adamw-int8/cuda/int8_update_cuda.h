// The 8-bit update on a CUDA device: enqueued on `stream` of the current device, never synchronises. Throws
// tetrad::Error(runtime) when the launch is refused.
#pragma once

#include "int8_update.h"

struct CUstream_st;

namespace tetrad::optim_adamw_int8::cuda {

void int8_update(const Int8Args& args, CUstream_st* stream);

}  // namespace tetrad::optim_adamw_int8::cuda

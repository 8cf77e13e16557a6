// The dense AdamW update on a CUDA device: enqueued on `stream` of the current device, never synchronises.
// Throws tetrad::Error(runtime) when the launch is refused.
#pragma once

#include "optim/dense_update.h"

struct CUstream_st;

namespace tetrad::optim::cuda {

void dense_update(const DenseArgs& args, CUstream_st* stream);

}  // namespace tetrad::optim::cuda

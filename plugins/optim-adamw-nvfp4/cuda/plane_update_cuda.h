// The update of a parameter in NVFP4 planes on a CUDA device: one pass over w, g, m and r. Enqueued on
// `stream` of the current device, never synchronises. Throws tetrad::Error(runtime) when the launch is
// refused.
#pragma once

#include "plane_update.h"

struct CUstream_st;

namespace tetrad::optim_adamw_nvfp4::cuda {

// `planes` is 1, 2 or 3. Planes must lie at addresses that are multiples of 16, scales of 2.
void plane_update(const PlaneArgs& args, int planes, CUstream_st* stream);

}  // namespace tetrad::optim_adamw_nvfp4::cuda

// The dense update on the CPU, threaded over elements; bit for bit what the CUDA kernel gives.
#pragma once

#include "optim/dense_update.h"

namespace tetrad::optim {

void dense_update_cpu(const DenseArgs& args);

}  // namespace tetrad::optim

// The CUDA half of the dense update, for the plugins' second files: cuda_dense_kernels() of <id>.so is null,
// that of <id>.cuda.so enqueues on the current stream of the device of the pointers.
#pragma once

#include "optim/dense_update.h"

namespace tetrad::optim {

using DenseKernel = void (*)(const DenseArgs& args, int device);

DenseKernel cuda_dense_kernel() noexcept;

}  // namespace tetrad::optim

#include "optim/dense_kernels.h"

namespace tetrad::optim {

DenseKernel cuda_dense_kernel() noexcept {
  return nullptr;
}

}  // namespace tetrad::optim

// cuda_dense_kernel() of a plugin's <id>.cuda.so.
#include "optim/dense_kernels.h"

#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "optim/cuda/dense_update.h"

namespace tetrad::optim {

DenseKernel cuda_dense_kernel() noexcept {
  return [](const DenseArgs& args, int device) {
    const c10::cuda::CUDAGuard on(static_cast<c10::DeviceIndex>(device));
    cuda::dense_update(args, c10::cuda::getCurrentCUDAStream(static_cast<c10::DeviceIndex>(device)).stream());
  };
}

}  // namespace tetrad::optim

// cuda_int8_kernel() of optim-adamw-int8.cuda.so.
#include "int8_kernels.h"

#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "cuda/int8_update_cuda.h"

namespace tetrad::optim_adamw_int8 {

Int8Kernel cuda_int8_kernel() noexcept {
  return [](const Int8Args& args, int device) {
    const auto index = static_cast<c10::DeviceIndex>(device);
    const c10::cuda::CUDAGuard on(index);
    cuda::int8_update(args, c10::cuda::getCurrentCUDAStream(index).stream());
  };
}

}  // namespace tetrad::optim_adamw_int8

#include "device_kernels.h"

namespace tetrad::backend_nvfp4 {

const DeviceKernels* device_kernels() noexcept {
  return nullptr;
}

}  // namespace tetrad::backend_nvfp4

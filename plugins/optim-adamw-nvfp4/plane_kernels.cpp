#include "plane_kernels.h"

namespace tetrad::optim_adamw_nvfp4 {

const PlaneKernels* plane_kernels() noexcept {
  return nullptr;
}

}  // namespace tetrad::optim_adamw_nvfp4

#include "int8_kernels.h"

namespace tetrad::optim_adamw_int8 {

Int8Kernel cuda_int8_kernel() noexcept {
  return nullptr;
}

}  // namespace tetrad::optim_adamw_int8

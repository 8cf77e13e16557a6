// The CUDA half of optim-adamw-nvfp4: null in <id>.so; in <id>.cuda.so it enqueues on the current stream of
// `device`.
#pragma once

#include <ATen/core/Tensor.h>

#include "plane_update.h"

namespace tetrad::optim_adamw_nvfp4 {

class PlaneKernels {
 public:
  virtual ~PlaneKernels() = default;
  virtual void update(const PlaneArgs& args, int planes, int device) const = 0;
  // Bits of max |g| over the finite elements of a dense gradient, into *amax (Int [1] on g's device).
  virtual void amax(const at::Tensor& g, const at::Tensor& amax) const = 0;
};

const PlaneKernels* plane_kernels() noexcept;

}  // namespace tetrad::optim_adamw_nvfp4

// Whether a tensor is free of NaN and infinities, as cheaply as reading it.
#pragma once

#include <ATen/core/Tensor.h>

namespace tetrad::ops {

// t: any shape, floating point. Synchronises with the tensor's device.
bool all_finite(const at::Tensor& t);

}  // namespace tetrad::ops

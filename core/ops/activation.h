// SwiGLU's element-wise half.
#pragma once

#include <ATen/core/Tensor.h>

namespace tetrad::ops {

// silu(gate) * up with silu(x) = x / (1 + exp(-x)), rounded to the dtype after silu and after the product, as
// transformers rounds. gate, up [T, intermediate].
at::Tensor silu_mul(const at::Tensor& gate, const at::Tensor& up);

}  // namespace tetrad::ops

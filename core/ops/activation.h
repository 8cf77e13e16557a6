// SwiGLU's element-wise half. A few rows of bf16 or fp32 on a CPU have a kernel of their own; everything
// else runs as the plain libtorch operations of the _reference form, which tests compare with.
#pragma once

#include <ATen/core/Tensor.h>

namespace tetrad::ops {

// silu(gate) * up with silu(x) = x / (1 + exp(-x)), rounded to the dtype after silu and after the product, as
// transformers rounds. gate, up [T, intermediate].
at::Tensor silu_mul(const at::Tensor& gate, const at::Tensor& up);
at::Tensor silu_mul_reference(const at::Tensor& gate, const at::Tensor& up);

}  // namespace tetrad::ops

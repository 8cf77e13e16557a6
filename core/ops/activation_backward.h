// Gradient of silu_mul (activation.h), in fp32 (fp64 for fp64 tensors), each result rounded once:
//   dup = dh * gate * sig(gate),   dgate = dh * up * sig(gate) * (1 + gate * (1 - sig(gate))).
// What the forward made comes with it, to the bit: the gradient of the next product's weight needs it again.
// On CUDA in 16 bits one kernel, in place.
#pragma once

#include <ATen/core/Tensor.h>

namespace tetrad::ops {

struct SiluMulGradient {
  at::Tensor dgate, dup;
  at::Tensor activated;  // silu_mul(gate, up)
};

// dh, gate, up of one shape and dtype. Their memory may hold the results: the caller is done with them.
SiluMulGradient silu_mul_backward(const at::Tensor& dh, const at::Tensor& gate, const at::Tensor& up);

}  // namespace tetrad::ops

// Gradient of silu_mul (activation.h), in fp32 (fp64 for fp64 tensors), each result rounded once:
//   dup = dh * gate * sig(gate),   dgate = dh * up * sig(gate) * (1 + gate * (1 - sig(gate))).
#pragma once

#include <ATen/core/Tensor.h>

namespace tetrad::ops {

struct SiluMulGradient {
  at::Tensor dgate, dup;
};

// dh, gate, up of one shape and dtype.
SiluMulGradient silu_mul_backward(const at::Tensor& dh, const at::Tensor& gate, const at::Tensor& up);

}  // namespace tetrad::ops

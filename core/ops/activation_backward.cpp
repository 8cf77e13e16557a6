#include "ops/activation_backward.h"

#include <ATen/ops/sigmoid.h>

namespace tetrad::ops {

SiluMulGradient silu_mul_backward(const at::Tensor& dh, const at::Tensor& gate, const at::Tensor& up) {
  const at::ScalarType dtype = gate.scalar_type(), wide = dtype == at::kDouble ? at::kDouble : at::kFloat;
  const at::Tensor d = dh.to(wide), g = gate.to(wide);
  const at::Tensor sig = at::sigmoid(g), silu = g.mul(sig);
  SiluMulGradient result;
  result.dup = silu.mul(d).to(dtype);
  // sig * (1 + g * (1 - sig)) = sig + silu * (1 - sig) = sig + silu - silu * sig
  const at::Tensor slope = silu.sub(silu.mul(sig)).add_(sig);
  result.dgate = slope.mul_(d).mul_(up.to(wide)).to(dtype);
  return result;
}

}  // namespace tetrad::ops

#include "ops/activation_backward.h"

#include "device/cuda_ops.h"
#include "ops/activation.h"

#include <ATen/ops/sigmoid.h>

namespace tetrad::ops {

SiluMulGradient silu_mul_backward(const at::Tensor& dh, const at::Tensor& gate, const at::Tensor& up) {
  if (device::CudaOps* cuda = device::cuda_ops_for(gate);
      cuda != nullptr && device::cuda_ops_for(up) != nullptr && device::cuda_ops_for(dh) != nullptr &&
      up.scalar_type() == gate.scalar_type() && dh.scalar_type() == gate.scalar_type() &&
      up.sizes() == gate.sizes() && dh.sizes() == gate.sizes()) {
    cuda->training().silu_mul_backward(dh, gate, up);
    return {gate, up, dh};
  }
  const at::ScalarType dtype = gate.scalar_type(), wide = dtype == at::kDouble ? at::kDouble : at::kFloat;
  const at::Tensor d = dh.to(wide), g = gate.to(wide);
  const at::Tensor sig = at::sigmoid(g), silu = g.mul(sig);
  SiluMulGradient result;
  result.activated = silu_mul(gate, up);
  result.dup = silu.mul(d).to(dtype);
  // sig * (1 + g * (1 - sig)) = sig + silu * (1 - sig) = sig + silu - silu * sig
  const at::Tensor slope = silu.sub(silu.mul(sig)).add_(sig);
  result.dgate = slope.mul_(d).mul_(up.to(wide)).to(dtype);
  return result;
}

}  // namespace tetrad::ops

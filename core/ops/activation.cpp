#include "ops/activation.h"

#include "device/cuda_ops.h"

#include "ops/cpu_dispatch.h"
#include "ops/simd_rows.h"

#include <ATen/ops/empty_like.h>
#include <ATen/ops/silu.h>

namespace tetrad::ops {

at::Tensor silu_mul_reference(const at::Tensor& gate, const at::Tensor& up) {
  return at::silu(gate).mul_(up);
}

at::Tensor silu_mul(const at::Tensor& gate, const at::Tensor& up) {
  if (device::CudaOps* cuda = device::cuda_ops_for(gate);
      cuda != nullptr && device::cuda_ops_for(up) != nullptr && gate.scalar_type() == up.scalar_type() &&
      gate.sizes() == up.sizes()) {
    const at::Tensor out = at::empty_like(gate);
    cuda->silu_mul(gate, up, out);
    return out;
  }
  if (!for_kernel(gate) || !for_kernel(up) || gate.scalar_type() != up.scalar_type() ||
      gate.sizes() != up.sizes() || gate.dim() != 2 || gate.size(0) > kFewRows)
    return silu_mul_reference(gate, up);
  const at::Tensor out = at::empty_like(gate);
  with_element(gate.scalar_type(), [&](auto* tag) {
    using T = std::remove_pointer_t<decltype(tag)>;
    const T *g = values<T>(gate), *u = values<T>(up);
    T* to = mutable_values<T>(out);
    simd::silu_mul_row(g, u, gate.numel(), to);
  });
  return out;
}

}  // namespace tetrad::ops

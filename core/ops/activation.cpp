#include "ops/activation.h"

#include <ATen/ops/mul.h>
#include <ATen/ops/silu.h>

namespace tetrad::ops {

at::Tensor silu_mul(const at::Tensor& gate, const at::Tensor& up) {
  return at::mul(at::silu(gate), up);
}

}  // namespace tetrad::ops

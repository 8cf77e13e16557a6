#include "ops/norm.h"

#include <ATen/ops/mean.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/square.h>

namespace tetrad::ops {

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  const at::Tensor wide = x.to(at::kFloat);
  const at::Tensor inverse =
      at::rsqrt(at::mean(at::square(wide), at::IntArrayRef{-1}, /*keepdim=*/true).add(eps));
  return at::mul(at::mul(wide, inverse).to(x.scalar_type()), weight);
}

}  // namespace tetrad::ops

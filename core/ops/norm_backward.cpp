#include "ops/norm_backward.h"

#include <ATen/ops/mean.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/square.h>
#include <ATen/ops/sum.h>

namespace tetrad::ops {

NormGradient rms_norm_backward(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& weight,
                               double eps) {
  const at::ScalarType wide = x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const at::Tensor value = x.to(wide), up = dy.to(wide);
  const at::Tensor s = at::rsqrt(at::mean(at::square(value), at::IntArrayRef{-1}, /*keepdim=*/true).add(eps));
  const at::Tensor normed = value.mul(s);
  const at::Tensor g = up.mul(weight.to(wide));
  const at::Tensor along = at::mean(g.mul(normed), at::IntArrayRef{-1}, /*keepdim=*/true);
  const std::int64_t n = x.size(-1);
  NormGradient result;
  result.dweight = at::sum(up.mul(normed).reshape({-1, n}), at::IntArrayRef{0});
  result.dx = g.sub(normed.mul(along)).mul_(s).to(x.scalar_type());
  return result;
}

}  // namespace tetrad::ops

#include "ops/norm_backward.h"

#include "device/cuda_ops.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/square.h>
#include <ATen/ops/sum.h>

namespace tetrad::ops {
namespace {

// The CUDA kernels, where they take all of these.
device::CudaTrainOps* on_device(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& weight,
                                const at::Tensor& passing) {
  device::CudaOps* cuda = device::cuda_ops_for(x);
  const auto alike = [&x](const at::Tensor& t) {
    return t.scalar_type() == x.scalar_type() && t.device() == x.device() && t.is_contiguous();
  };
  const bool taken = cuda != nullptr && x.numel() > 0 && weight.dim() == 1 && x.size(-1) == weight.size(0) &&
                     alike(dy) && alike(weight) && (!passing.defined() || alike(passing)) &&
                     cuda->training().takes_norm_backward(weight.size(0));
  return taken ? &cuda->training() : nullptr;
}

}  // namespace

NormGradient rms_norm_backward(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& weight,
                               double eps, const at::Tensor& passing) {
  if (device::CudaTrainOps* cuda = on_device(dy, x, weight, passing)) {
    NormGradient result{at::empty_like(x), at::empty({weight.size(0)}, x.options().dtype(at::kFloat))};
    cuda->rms_norm_backward(dy, x, weight, eps, passing, result.dx, result.dweight);
    return result;
  }
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
  if (passing.defined()) result.dx.add_(passing);
  return result;
}

}  // namespace tetrad::ops

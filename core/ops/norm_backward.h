// Gradient of rms_norm (norm.h). Statistics, products and sums are taken in fp32 (in fp64 for fp64 tensors);
// each result is rounded once. Formula, with s = 1 / sqrt(mean(x^2) + eps) of a row and g = dy * weight:
//   dx = s * (g - x * s^2 * mean(g * x)),   dweight = sum over rows of dy * x * s.
//
// On CUDA in 16 bits one kernel for rows that it takes, otherwise libtorch's operations.
#pragma once

#include <ATen/core/Tensor.h>

namespace tetrad::ops {

struct NormGradient {
  at::Tensor dx;       // as x
  at::Tensor dweight;  // [N], fp32 (fp64 for fp64 tensors)
};

// dy, x [..., N] of one dtype, weight [N] of any. Sums over rows go in one fixed order on a CPU and on CUDA.
// passing, where defined, like x: the gradient of what goes past the norm; it is added to the rounded dx, and
// the sum is rounded.
NormGradient rms_norm_backward(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& weight,
                               double eps, const at::Tensor& passing = {});

}  // namespace tetrad::ops

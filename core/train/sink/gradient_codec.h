// A dense gradient as one NVFP4 plane: blocks of 16 along a row, round to nearest, power-of-two global scale
// from its own amax. On a CUDA device the global scale stays there (Gradient::decode_scale).
#pragma once

#include <ATen/core/Tensor.h>
#include <tetrad/torch/optimizer.h>

namespace tetrad::train {

// dw: fp32, bf16 or fp16 matrix [N, K], or a vector, which counts as one row; contiguous. A block with a
// non-finite value decodes to NaN.
Gradient quantised(const at::Tensor& dw);

// Together with the norm of dw, sqrt(sum of squares) in fp32: a tensor [] on dw's device, not finite where a
// value is not.
struct QuantisedGradient {
  Gradient gradient;
  at::Tensor norm;
};
QuantisedGradient quantised_with_norm(const at::Tensor& dw);

}  // namespace tetrad::train

// Root-mean-square normalisation, Qwen3/Llama flavour: the statistics are taken in fp32 whatever the input's
// dtype, the normalised value is rounded to that dtype and only then multiplied by the weight, as
// transformers does it, so that bf16 runs agree with it. bf16 and fp32 on a CPU have kernels of their own (a
// prefill's means stay libtorch's, so that its bits are transformers'); everything else runs as the plain
// libtorch operations of the _reference forms, which tests compare with.
#pragma once

#include <ATen/core/Tensor.h>

namespace tetrad::ops {

// y = round(x / sqrt(mean(x^2) + eps)) * weight over the last dimension. x [..., N], weight [N], both of one
// dtype and device.
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps);
at::Tensor rms_norm_reference(const at::Tensor& x, const at::Tensor& weight, double eps);

struct Normed {
  at::Tensor sum;     // x + y, rounded to the dtype: the residual stream
  at::Tensor normed;  // rms_norm(sum)
};

// Residual addition and the norm that follows it, in one pass. x, y [..., N] alike.
Normed add_rms_norm(const at::Tensor& x, const at::Tensor& y, const at::Tensor& weight, double eps);

}  // namespace tetrad::ops

// Root-mean-square normalisation, Qwen3/Llama flavour: the statistics are taken in fp32 whatever the input's
// dtype, the normalised value is rounded to that dtype and only then multiplied by the weight, as
// transformers does it, so that bf16 runs agree with it.
#pragma once

#include <ATen/core/Tensor.h>

namespace tetrad::ops {

// y = round(x / sqrt(mean(x^2) + eps)) * weight over the last dimension. x [..., N], weight [N], both of one
// dtype and device.
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps);

}  // namespace tetrad::ops

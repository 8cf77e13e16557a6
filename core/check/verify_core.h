// The engine's own kernels against plain code, for `host doctor --verify`. Each throws Failure that names the
// kernel and the first element that is wrong.
#pragma once

#include "check/case.h"

#include <ATen/core/Tensor.h>

namespace tetrad::check {

// amax, quantise and dequantise of tetrad/nvfp4 (this machine's vector unit) against its reference, bit for
// bit: both block shapes, one to three planes.
Result verify_codec();
// The products of few rows with packed and with dense weights against fp64.
Result verify_products();
// core/ops attention on a device, with as many queries as keys and with fewer, against fp64 softmax.
Result verify_attention(at::Device device, at::ScalarType dtype);

// Sampling on a CUDA device against the host's sampler: the same tokens.
Result verify_sampling(at::Device device);

}  // namespace tetrad::check

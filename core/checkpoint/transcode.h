// Weights between dense values and planes, a strip of rows at a time, so that memory is bounded by the strip
// and not by the tensor. Rows are encoded by several threads; the bytes do not depend on their number.
#pragma once

#include <tetrad/nvfp4/profile.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "checkpoint/tensor.h"

namespace tetrad::checkpoint {

using ByteSink = std::function<void(std::span<const std::byte>)>;

// Largest |w| of a dense matrix (F32, BF16, F16). Throws Error(numerics) naming the first element that is not
// finite.
float dense_amax(const Tensor& tensor);

// A dense matrix into planes under a given global scale. K must be a multiple of 16.
void encode(const Tensor& tensor, nvfp4::GlobalScale global, const nvfp4::EncodeOptions& options,
            const ByteSink& codes, const ByteSink& scales);

// A dense tensor of any shape as BF16, rounded to nearest, ties to even; a BF16 one as it is. Throws
// Error(numerics) for a value that is not finite, or no longer finite in BF16.
void to_bf16(const Tensor& tensor, const ByteSink& out);

// Planes into BF16: code * (block scale * global scale), the inner product rounded once in fp32 as
// ModelOpt and compressed-tensors do it, and the result once to BF16. Exact when the global scale is a power
// of two and there is no lo plane.
void decode_bf16(const Tensor& tensor, const ByteSink& out);

// `bytes` in pieces that a caller can hash and write.
void copy(std::span<const std::byte> bytes, const ByteSink& out);

}  // namespace tetrad::checkpoint

// Gradient of an embedding lookup, without atomics: tokens are sorted by id (stable), and the rows of one id
// are added in the order in which they stood, so that a repetition gives the same bits.
#pragma once

#include <ATen/core/Tensor.h>

namespace tetrad::ops {

struct EmbeddingGradient {
  at::Tensor ids;   // int64 [U]: the ids that occur, ascending
  at::Tensor rows;  // [U, H], fp32 (fp64 for fp64 gradients): sum of dy over the tokens with that id
};

// dy [T, H], ids int64 [T].
EmbeddingGradient embedding_backward(const at::Tensor& dy, const at::Tensor& ids);

}  // namespace tetrad::ops

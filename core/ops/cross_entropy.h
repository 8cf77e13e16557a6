// Next-token cross entropy over a vocabulary that is seen in tiles, so that the logits of all tokens and
// words never exist together. First every tile is shown to `observe`, which keeps a running log-sum-exp and
// the target's logit (Milakov and Gimelshein 2018, "Online normalizer calculation for softmax"); then
// gradient() of each tile is softmax - onehot, times the scale. fp32 statistics (fp64 for fp64 logits).
// On CUDA 16-bit logits meet one kernel for each of both.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace tetrad::ops {

class TiledCrossEntropy {
 public:
  // targets int64 [M] on the logits' device, each in [0, vocabulary).
  explicit TiledCrossEntropy(const at::Tensor& targets, at::ScalarType wide = at::kFloat);

  // logits [M, n] of the words [first, first + n).
  void observe(const at::Tensor& logits, std::int64_t first);
  // After all tiles: -log p(target) of each token, [M].
  at::Tensor negative_log_likelihood() const;
  // d(scale * sum of them) / d(logits) of a tile, in the logits' dtype.
  at::Tensor gradient(const at::Tensor& logits, std::int64_t first, double scale) const;
  // The same, in the logits' place.
  void turn_into_gradient(const at::Tensor& logits, std::int64_t first, double scale) const;

  // Whether logits of this device and dtype take no temporaries of their size.
  static bool in_one_pass(at::Device device, at::ScalarType dtype) noexcept;

 private:
  at::Tensor targets_;
  at::Tensor largest_, sum_, at_target_;  // [M]
};

}  // namespace tetrad::ops

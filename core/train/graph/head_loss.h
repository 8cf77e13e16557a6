// Final norm's output -> next-token loss, and back. Only scored tokens meet the head. Where their logits over
// the whole vocabulary fit into the budget they are made once by the backend's own product; otherwise the
// vocabulary is gone through in tiles, twice: once for the log-sum-exp and, in the backward, once more for
// each tile's gradient (one more product of the head, and no rounding of partial weight gradients).
#pragma once

#include "ops/cross_entropy.h"
#include "train/graph/gradient_receiver.h"
#include "train/graph/linear_calls.h"
#include "train/graph/step_input.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

namespace tetrad::train {

class HeadLoss {
 public:
  // budget_bytes: for logits and what their gradient needs beside them.
  HeadLoss(model::Transformer& model, std::int64_t budget_bytes);

  // x [T, hidden] -> negative log likelihood of each scored token, fp32 [M]. Remembers what backward() needs.
  at::Tensor forward(const at::Tensor& x, const StepInput& input);
  // d(scale * sum of them) / dx, [T, hidden]; the head's weight gradient goes to `gradients`. Forgets.
  at::Tensor backward(double scale, GradientReceiver& gradients);
  void forget();

  // Whether `tokens` scored tokens take the tiled way.
  bool tiles(std::int64_t tokens) const;

 private:
  std::int64_t tile_words(std::int64_t tokens) const;
  bool in_one_pass() const;
  at::Tensor tile_weight(std::int64_t first, std::int64_t count) const;
  at::Tensor whole_backward(double scale, GradientReceiver& gradients);
  at::Tensor tiled_backward(double scale, GradientReceiver& gradients);

  model::Transformer& model_;
  LinearCalls linear_;
  std::int64_t budget_, words_;
  // Between forward and backward:
  at::Tensor scored_x_, scored_, targets_, logits_;
  std::int64_t tokens_ = 0;
  std::optional<ops::TiledCrossEntropy> entropy_;  // of all tokens, where forward() made one
};

}  // namespace tetrad::train

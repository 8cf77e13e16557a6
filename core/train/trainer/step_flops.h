// Floating point operations of a training step's matrix products and attention: what the share of the
// roofline in a step's log line counts. A multiplication and an addition are two. What is element by element
// (norms, SwiGLU, rotation, quantising, the optimizer) is left out, as is usual.
#pragma once

#include "model/config.h"
#include "train/graph/block_graph.h"

#include <cstdint>

namespace tetrad::train {

// Sums over all micro-batches of a step.
struct StepWork {
  std::int64_t tokens = 0, scored = 0;
  double document_squares = 0.0;  // of the lengths of the documents: attention is causal inside each
  std::int64_t scored_tiled = 0;  // of `scored`, those whose logits are made twice (HeadLoss)
};

struct StepFlops {
  double forward = 0.0;
  double backward = 0.0;   // twice the products, 2.5 times the attention of the forward
  double recompute = 0.0;  // what the checkpointing computes again, and tiled logits
  double all() const noexcept { return forward + backward + recompute; }
};

StepFlops step_flops(const model::ModelConfig& config, Checkpointing checkpointing, const StepWork& work);

}  // namespace tetrad::train

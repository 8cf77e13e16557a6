// The model's training step without an optimizer: forward of a batch to the loss, and the backward of it,
// block by block, with every weight gradient handed over as it arises. Nothing here builds an autograd graph;
// the weights are what the linear backend says they are (Pass::train), gradients are straight-through.
#pragma once

#include "model/transformer.h"
#include "train/graph/block_graph.h"
#include "train/graph/gradient_receiver.h"
#include "train/graph/head_loss.h"
#include "train/graph/step_input.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

namespace tetrad::train {

struct GraphOptions {
  Checkpointing checkpointing = Checkpointing::none;
  std::int64_t head_budget_bytes = std::int64_t{512} << 20;
};

class TrainGraph {
 public:
  // The model outlives the graph and lies on the training path.
  TrainGraph(model::Transformer& model, GraphOptions options);

  // Negative log likelihood of each scored token, fp32 [M] on the device. Keeps what backward() needs.
  at::Tensor forward(const StepInput& input);
  // The same for an evaluation: nothing is kept.
  at::Tensor evaluate(const StepInput& input);
  // Gradients of scale * sum of the last forward's result. Every parameter's contributions arrive; whatever
  // happens, what forward() kept is gone afterwards.
  void backward(const StepInput& input, double scale, GradientReceiver& gradients);
  // Where a forward of `input` first has a value that is not finite, for people: "layer 3, tensor
  // 'gate_proj'". Runs the forward again with eyes open.
  std::string first_non_finite(const StepInput& input);
  // What forward() keeps from now on; call it between two steps.
  void set_checkpointing(Checkpointing checkpointing) noexcept { block_.set_checkpointing(checkpointing); }
  // Drops what forward() kept.
  void forget();

  // Bytes of activations that are kept now.
  std::int64_t saved_bytes() const;

 private:
  at::Tensor run(const StepInput& input, bool keep);

  model::Transformer& model_;
  LinearCalls linear_;
  BlockGraph block_;
  HeadLoss head_;
  std::vector<BlockSaved> saved_;
  at::Tensor last_;  // input of the final norm
};

}  // namespace tetrad::train

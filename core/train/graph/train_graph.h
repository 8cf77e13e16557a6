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

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
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
  // Losses and gradients of several batches, breadth first: every forward (with the head's part of the
  // backward), then block by block the backward of all batches. The sums of one block's weight gradients are
  // then complete before the next block's begin, and what is kept of the blocks is kept of all batches.
  // `on_losses` has the forward()'s result of each batch before any gradient of it arises, and may throw.
  using OnLosses = std::function<void(std::size_t batch, const at::Tensor& losses)>;
  void breadth_first(std::span<const StepInput> inputs, double scale, GradientReceiver& gradients,
                     const OnLosses& on_losses);
  // Where a forward of `input` first has a value that is not finite, for people: "layer 3, tensor
  // 'gate_proj'". Runs the forward again with eyes open.
  std::string first_non_finite(const StepInput& input);
  // What forward() keeps from now on; call it between two steps.
  void set_checkpointing(Checkpointing checkpointing) noexcept { block_.set_checkpointing(checkpointing); }
  // Whether the logits of `scored` tokens are made in tiles, and so once more in the backward.
  bool tiles_head(std::int64_t scored) const { return head_.tiles(scored); }
  // Drops what forward() kept.
  void forget();

  // Bytes of activations that are kept now.
  std::int64_t saved_bytes() const;

 private:
  at::Tensor run(const StepInput& input, bool keep);
  // Embedding and blocks: the final norm's input. `saved` may be null.
  at::Tensor trunk(const StepInput& input, std::vector<BlockSaved>* saved);
  at::Tensor final_normed(const at::Tensor& x) const;
  // Gradient of the final norm's input, out of the head's last forward.
  at::Tensor head_backward(const at::Tensor& x, double scale, GradientReceiver& gradients);
  void embedding_backward(const at::Tensor& dx, const StepInput& input, GradientReceiver& gradients);

  model::Transformer& model_;
  LinearCalls linear_;
  BlockGraph block_;
  HeadLoss head_;
  std::vector<BlockSaved> saved_;
  at::Tensor last_;                               // input of the final norm
  std::vector<std::vector<BlockSaved>> batches_;  // of breadth_first()
};

}  // namespace tetrad::train

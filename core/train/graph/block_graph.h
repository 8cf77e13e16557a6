// One decoder block with its gradient, written by hand and callable without autograd: the caller holds what
// the forward saved and hands it to the backward, which lets go of each tensor as soon as it was used.
//
// Saved at most: block input, q, k, v before norm and rotation, attention output with its log-sum-exp, the
// residual between attention and MLP, gate and up; norms, rotated q and k, and silu(gate) * up are computed
// again, element by element. `Checkpointing` drops more and computes it again with matrix products, and what
// that makes on its way stays until the block's backward has used it; the output of down_proj is never needed
// again.
#pragma once

#include "model/transformer.h"
#include "ops/packed_attention.h"
#include "ops/rope_rows.h"
#include "train/graph/gradient_receiver.h"
#include "train/graph/linear_calls.h"
#include "train/graph/step_input.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string_view>

namespace tetrad::train {

enum class Checkpointing : std::uint8_t {
  none,       // everything above is kept
  selective,  // gate and up are computed again
  block,      // the block's input alone is kept
};
// "none", "selective" or "block". Throws Error(usage) for another word.
Checkpointing parse_checkpointing(std::string_view word);

struct BlockSaved {
  at::Tensor input;        // [T, hidden]
  at::Tensor q, k, v;      // [T, heads * head_dim], [T, kv_heads * head_dim] twice
  ops::Attended attended;  // out [T, heads, head_dim]
  at::Tensor middle;       // [T, hidden]: the residual stream after attention
  at::Tensor gate, up;     // [T, intermediate]

  std::int64_t bytes() const;
};

class BlockGraph {
 public:
  BlockGraph(model::Transformer& model, Checkpointing checkpointing);

  // From the next forward on; the numbers stay the same.
  void set_checkpointing(Checkpointing checkpointing) noexcept { checkpointing_ = checkpointing; }

  // x [T, hidden] -> [T, hidden]. Fills `saved` as the checkpointing says; null: nothing is kept.
  at::Tensor forward(std::int64_t layer, const at::Tensor& x, const StepInput& input,
                     BlockSaved* saved) const;
  // dy: gradient of the forward's result -> gradient of its x. Weight gradients go to `gradients`.
  at::Tensor backward(std::int64_t layer, at::Tensor dy, BlockSaved saved, const StepInput& input,
                      GradientReceiver& gradients) const;

 private:
  using Block = model::Transformer::Block;

  // What is cheap to compute again; undefined until somebody did, or had it at hand.
  struct Derived {
    at::Tensor input_normed, post_normed;  // [T, hidden]
    ops::Rotated turned;                   // q and k after norm and rotation
  };

  at::Tensor as_heads(const at::Tensor& t) const;
  ops::UnrotatedHeads heads_of(const Block& block, const BlockSaved& s) const;
  const at::Tensor& input_normed(const Block& block, const BlockSaved& s, Derived& d) const;
  const at::Tensor& post_normed(const Block& block, const BlockSaved& s, Derived& d) const;
  const ops::Rotated& turned(const Block& block, const BlockSaved& s, const StepInput& input,
                             Derived& d) const;
  void attend(const Block& block, BlockSaved& s, const StepInput& input, Derived& d) const;
  void project(const Block& block, BlockSaved& s, Derived& d) const;
  at::Tensor mlp_backward(const Block& block, const at::Tensor& dy, BlockSaved& s, Derived& d,
                          GradientReceiver& gradients) const;
  at::Tensor attention_backward(const Block& block, const at::Tensor& dmiddle, BlockSaved& s, Derived& d,
                                const StepInput& input, GradientReceiver& gradients) const;
  // dy: of the norm's result; passing: of what goes past it. -> gradient of its input x.
  at::Tensor norm_backward(const at::Tensor& dy, const at::Tensor& x, const Parameter& norm,
                           const at::Tensor& passing, GradientReceiver& gradients) const;

  model::Transformer& model_;
  LinearCalls linear_;
  Checkpointing checkpointing_;
  double eps_, scale_;
};

}  // namespace tetrad::train

#include "train/graph/block_graph.h"

#include "ops/activation.h"
#include "ops/activation_backward.h"
#include "ops/norm.h"
#include "ops/norm_backward.h"
#include "ops/rope_rows.h"

#include <tetrad/base/error.h>

#include <cmath>
#include <string>
#include <utility>

namespace tetrad::train {
namespace {

at::Tensor flat(const at::Tensor& heads) {
  return heads.reshape({heads.size(0), heads.size(1) * heads.size(2)});
}

}  // namespace

Checkpointing parse_checkpointing(std::string_view word) {
  if (word == "none") return Checkpointing::none;
  if (word == "selective") return Checkpointing::selective;
  if (word == "block") return Checkpointing::block;
  throw Error(ExitCode::usage,
              "[train] checkpointing '" + std::string(word) + "' is none of none, selective and block");
}

std::int64_t BlockSaved::bytes() const {
  std::int64_t sum = 0;
  for (const at::Tensor* t : {&input, &q, &k, &v, &attended.out, &attended.lse, &middle, &gate, &up})
    if (t->defined()) sum += static_cast<std::int64_t>(t->nbytes());
  return sum;
}

BlockGraph::BlockGraph(model::Transformer& model, Checkpointing checkpointing)
    : model_(model),
      linear_(model),
      checkpointing_(checkpointing),
      eps_(model.config().rms_norm_eps),
      scale_(1.0 / std::sqrt(static_cast<double>(model.config().head_dim))) {}

at::Tensor BlockGraph::as_heads(const at::Tensor& t) const {
  const std::int64_t dim = model_.config().head_dim;
  return t.view({t.size(0), t.size(1) / dim, dim});
}

at::Tensor BlockGraph::input_normed(const Block& block, const at::Tensor& x) const {
  return ops::rms_norm(x, model_.norm_weight(*block.input_norm), eps_);
}

at::Tensor BlockGraph::rotated(const at::Tensor& t, const Parameter* norm, const StepInput& input) const {
  at::Tensor heads = as_heads(t);
  if (norm != nullptr) heads = ops::rms_norm(heads, model_.norm_weight(*norm), eps_);
  return ops::rotate_rows(heads, model_.rope(), input.positions, ops::Turn::forward);
}

// s.input -> q, k, v, attended, middle.
void BlockGraph::attend(const Block& block, BlockSaved& s, const StepInput& input) const {
  std::vector<at::Tensor> qkv = linear_.forward({block.q, block.k, block.v}, input_normed(block, s.input));
  s.q = std::move(qkv[0]);
  s.k = std::move(qkv[1]);
  s.v = std::move(qkv[2]);
  s.attended = ops::packed_attention(rotated(s.q, block.q_norm, input), rotated(s.k, block.k_norm, input),
                                     as_heads(s.v), scale_, input.documents);
  s.middle = linear_.forward(block.o, flat(s.attended.out)).add_(s.input);
}

// s.middle -> gate, up.
void BlockGraph::project(const Block& block, BlockSaved& s) const {
  const at::Tensor normed = ops::rms_norm(s.middle, model_.norm_weight(*block.post_norm), eps_);
  std::vector<at::Tensor> mlp = linear_.forward({block.gate, block.up}, normed);
  s.gate = std::move(mlp[0]);
  s.up = std::move(mlp[1]);
}

at::Tensor BlockGraph::forward(std::int64_t layer, const at::Tensor& x, const StepInput& input,
                               BlockSaved* saved) const {
  const Block& block = model_.blocks()[static_cast<std::size_t>(layer)];
  BlockSaved s;
  s.input = x;
  attend(block, s, input);
  const bool keeps_attention = saved != nullptr && checkpointing_ != Checkpointing::block;
  const bool keeps_mlp = saved != nullptr && checkpointing_ == Checkpointing::none;
  if (!keeps_attention) {
    s.q = s.k = s.v = at::Tensor();
    s.attended = {};
  }
  project(block, s);
  const at::Tensor activated = ops::silu_mul(s.gate, s.up);
  if (!keeps_mlp) s.gate = s.up = at::Tensor();
  at::Tensor y = linear_.forward(block.down, activated).add_(s.middle);
  if (!keeps_attention) s.middle = at::Tensor();
  if (saved != nullptr) *saved = std::move(s);
  return y;
}

at::Tensor BlockGraph::norm_backward(const at::Tensor& dy, const at::Tensor& x, const Parameter& norm,
                                     GradientReceiver& gradients) const {
  ops::NormGradient grad = ops::rms_norm_backward(dy, x, model_.norm_weight(norm), eps_);
  gradients.add(norm, std::move(grad.dweight));
  return std::move(grad.dx);
}

// Gradient of the residual stream between attention and MLP, without what passes the MLP by.
at::Tensor BlockGraph::mlp_backward(const Block& block, const at::Tensor& dy, BlockSaved& s,
                                    GradientReceiver& gradients) const {
  if (!s.gate.defined()) project(block, s);
  const at::Tensor dactivated = linear_.grad_input(block.down, dy);
  gradients.add(*block.down.parameter, linear_.grad_weight(block.down, dy, ops::silu_mul(s.gate, s.up)));
  ops::SiluMulGradient d = ops::silu_mul_backward(dactivated, s.gate, s.up);
  s.gate = s.up = at::Tensor();
  const at::Tensor normed = ops::rms_norm(s.middle, model_.norm_weight(*block.post_norm), eps_);
  at::Tensor dnormed = linear_.grad_input(block.gate, d.dgate);
  gradients.add(*block.gate.parameter, linear_.grad_weight(block.gate, d.dgate, normed));
  d.dgate = at::Tensor();
  dnormed.add_(linear_.grad_input(block.up, d.dup));
  gradients.add(*block.up.parameter, linear_.grad_weight(block.up, d.dup, normed));
  return norm_backward(dnormed, s.middle, *block.post_norm, gradients);
}

at::Tensor BlockGraph::unrotated(const at::Tensor& gradient, const at::Tensor& before, const Parameter* norm,
                                 const StepInput& input, GradientReceiver& gradients) const {
  const at::Tensor turned =
      ops::rotate_rows(gradient.contiguous(), model_.rope(), input.positions, ops::Turn::backward);
  if (norm == nullptr) return flat(turned);
  return flat(norm_backward(turned, as_heads(before), *norm, gradients));
}

// Gradient of the block's input, without what passes the attention by.
at::Tensor BlockGraph::attention_backward(const Block& block, const at::Tensor& dmiddle, BlockSaved& s,
                                          const StepInput& input, GradientReceiver& gradients) const {
  const at::Tensor dout = as_heads(linear_.grad_input(block.o, dmiddle));
  gradients.add(*block.o.parameter, linear_.grad_weight(block.o, dmiddle, flat(s.attended.out)));
  ops::AttentionGradient d = ops::packed_attention_backward(dout, rotated(s.q, block.q_norm, input),
                                                            rotated(s.k, block.k_norm, input), as_heads(s.v),
                                                            s.attended, scale_, input.documents);
  s.attended = {};
  const at::Tensor dq = unrotated(d.dq, s.q, block.q_norm, input, gradients);
  const at::Tensor dk = unrotated(d.dk, s.k, block.k_norm, input, gradients);
  const at::Tensor dv = flat(d.dv);
  d = {};
  s.q = s.k = s.v = at::Tensor();
  const at::Tensor normed = input_normed(block, s.input);
  at::Tensor dnormed = linear_.grad_input(block.q, dq);
  dnormed.add_(linear_.grad_input(block.k, dk)).add_(linear_.grad_input(block.v, dv));
  gradients.add(*block.q.parameter, linear_.grad_weight(block.q, dq, normed));
  gradients.add(*block.k.parameter, linear_.grad_weight(block.k, dk, normed));
  gradients.add(*block.v.parameter, linear_.grad_weight(block.v, dv, normed));
  return norm_backward(dnormed, s.input, *block.input_norm, gradients);
}

at::Tensor BlockGraph::backward(std::int64_t layer, at::Tensor dy, BlockSaved saved, const StepInput& input,
                                GradientReceiver& gradients) const {
  const Block& block = model_.blocks()[static_cast<std::size_t>(layer)];
  if (!saved.middle.defined()) attend(block, saved, input);
  const at::Tensor dmiddle = mlp_backward(block, dy, saved, gradients).add_(dy);
  dy = at::Tensor();
  saved.middle = at::Tensor();
  return attention_backward(block, dmiddle, saved, input, gradients).add_(dmiddle);
}

}  // namespace tetrad::train

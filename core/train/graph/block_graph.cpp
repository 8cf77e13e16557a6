#include "train/graph/block_graph.h"

#include "ops/activation.h"
#include "ops/activation_backward.h"
#include "ops/norm.h"
#include "ops/norm_backward.h"

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

ops::UnrotatedHeads BlockGraph::heads_of(const Block& block, const BlockSaved& s) const {
  const auto weight = [&](const Parameter* norm) {
    return norm == nullptr ? at::Tensor() : model_.norm_weight(*norm);
  };
  return {as_heads(s.q), as_heads(s.k), weight(block.q_norm), weight(block.k_norm), eps_};
}

const at::Tensor& BlockGraph::input_normed(const Block& block, const BlockSaved& s, Derived& d) const {
  if (!d.input_normed.defined())
    d.input_normed = ops::rms_norm(s.input, model_.norm_weight(*block.input_norm), eps_);
  return d.input_normed;
}

const at::Tensor& BlockGraph::post_normed(const Block& block, const BlockSaved& s, Derived& d) const {
  if (!d.post_normed.defined())
    d.post_normed = ops::rms_norm(s.middle, model_.norm_weight(*block.post_norm), eps_);
  return d.post_normed;
}

const ops::Rotated& BlockGraph::turned(const Block& block, const BlockSaved& s, const StepInput& input,
                                       Derived& d) const {
  if (!d.turned.q.defined())
    d.turned = ops::norm_and_rotate_rows(heads_of(block, s), model_.rope(), input.positions);
  return d.turned;
}

// s.input -> q, k, v, attended, middle.
void BlockGraph::attend(const Block& block, BlockSaved& s, const StepInput& input, Derived& d) const {
  std::vector<at::Tensor> qkv = linear_.forward({block.q, block.k, block.v}, input_normed(block, s, d));
  s.q = std::move(qkv[0]);
  s.k = std::move(qkv[1]);
  s.v = std::move(qkv[2]);
  const auto& [q, k] = turned(block, s, input, d);
  s.attended = ops::packed_attention(q, k, as_heads(s.v), scale_, input.documents);
  ops::Normed post = ops::add_rms_norm(s.input, linear_.forward(block.o, flat(s.attended.out)),
                                       model_.norm_weight(*block.post_norm), eps_);
  s.middle = std::move(post.sum);
  d.post_normed = std::move(post.normed);
}

// s.middle -> gate, up.
void BlockGraph::project(const Block& block, BlockSaved& s, Derived& d) const {
  std::vector<at::Tensor> mlp = linear_.forward({block.gate, block.up}, post_normed(block, s, d));
  s.gate = std::move(mlp[0]);
  s.up = std::move(mlp[1]);
}

at::Tensor BlockGraph::forward(std::int64_t layer, const at::Tensor& x, const StepInput& input,
                               BlockSaved* saved) const {
  const Block& block = model_.blocks()[static_cast<std::size_t>(layer)];
  BlockSaved s;
  s.input = x;
  Derived derived;
  attend(block, s, input, derived);
  derived.input_normed = at::Tensor();
  derived.turned = {};
  const bool keeps_attention = saved != nullptr && checkpointing_ != Checkpointing::block;
  const bool keeps_mlp = saved != nullptr && checkpointing_ == Checkpointing::none;
  if (!keeps_attention) {
    s.q = s.k = s.v = at::Tensor();
    s.attended = {};
  }
  project(block, s, derived);
  derived = {};
  const at::Tensor activated = ops::silu_mul(s.gate, s.up);
  if (!keeps_mlp) s.gate = s.up = at::Tensor();
  at::Tensor y = linear_.forward(block.down, activated).add_(s.middle);
  if (!keeps_attention) s.middle = at::Tensor();
  if (saved != nullptr) *saved = std::move(s);
  return y;
}

at::Tensor BlockGraph::norm_backward(const at::Tensor& dy, const at::Tensor& x, const Parameter& norm,
                                     const at::Tensor& passing, GradientReceiver& gradients) const {
  ops::NormGradient grad = ops::rms_norm_backward(dy, x, model_.norm_weight(norm), eps_, passing);
  gradients.add(norm, std::move(grad.dweight));
  return std::move(grad.dx);
}

// Gradient of the residual stream between attention and MLP.
at::Tensor BlockGraph::mlp_backward(const Block& block, const at::Tensor& dy, BlockSaved& s, Derived& d,
                                    GradientReceiver& gradients) const {
  if (!s.gate.defined()) project(block, s, d);
  ops::SiluMulGradient mlp = ops::silu_mul_backward(linear_.grad_input(block.down, dy), s.gate, s.up);
  s.gate = s.up = at::Tensor();
  gradients.add(*block.down.parameter, linear_.grad_weight(block.down, dy, mlp.activated));
  mlp.activated = at::Tensor();
  const at::Tensor normed = post_normed(block, s, d);
  d.post_normed = at::Tensor();
  at::Tensor dnormed = linear_.grad_input(block.gate, mlp.dgate);
  gradients.add(*block.gate.parameter, linear_.grad_weight(block.gate, mlp.dgate, normed));
  mlp.dgate = at::Tensor();
  dnormed.add_(linear_.grad_input(block.up, mlp.dup));
  gradients.add(*block.up.parameter, linear_.grad_weight(block.up, mlp.dup, normed));
  return norm_backward(dnormed, s.middle, *block.post_norm, dy, gradients);
}

// Gradient of the block's input.
at::Tensor BlockGraph::attention_backward(const Block& block, const at::Tensor& dmiddle, BlockSaved& s,
                                          Derived& d, const StepInput& input,
                                          GradientReceiver& gradients) const {
  const at::Tensor dout = as_heads(linear_.grad_input(block.o, dmiddle));
  gradients.add(*block.o.parameter, linear_.grad_weight(block.o, dmiddle, flat(s.attended.out)));
  const ops::Rotated& qk = turned(block, s, input, d);
  ops::AttentionGradient attention =
      ops::packed_attention_backward(dout, qk.q, qk.k, as_heads(s.v), s.attended, scale_, input.documents);
  s.attended = {};
  d.turned = {};
  ops::RotationGradient before = ops::norm_and_rotate_rows_backward(
      attention.dq, attention.dk, heads_of(block, s), model_.rope(), input.positions);
  if (block.q_norm != nullptr) gradients.add(*block.q_norm, std::move(before.dq_weight));
  if (block.k_norm != nullptr) gradients.add(*block.k_norm, std::move(before.dk_weight));
  const at::Tensor dq = flat(before.dq), dk = flat(before.dk), dv = flat(attention.dv);
  before = {};
  attention = {};
  s.q = s.k = s.v = at::Tensor();
  const at::Tensor& normed = input_normed(block, s, d);
  at::Tensor dnormed = linear_.grad_input(block.q, dq);
  dnormed.add_(linear_.grad_input(block.k, dk)).add_(linear_.grad_input(block.v, dv));
  gradients.add(*block.q.parameter, linear_.grad_weight(block.q, dq, normed));
  gradients.add(*block.k.parameter, linear_.grad_weight(block.k, dk, normed));
  gradients.add(*block.v.parameter, linear_.grad_weight(block.v, dv, normed));
  return norm_backward(dnormed, s.input, *block.input_norm, dmiddle, gradients);
}

at::Tensor BlockGraph::backward(std::int64_t layer, at::Tensor dy, BlockSaved saved, const StepInput& input,
                                GradientReceiver& gradients) const {
  const Block& block = model_.blocks()[static_cast<std::size_t>(layer)];
  Derived derived;
  if (!saved.middle.defined()) attend(block, saved, input, derived);
  const at::Tensor dmiddle = mlp_backward(block, dy, saved, derived, gradients);
  dy = at::Tensor();
  saved.middle = at::Tensor();
  return attention_backward(block, dmiddle, saved, derived, input, gradients);
}

}  // namespace tetrad::train

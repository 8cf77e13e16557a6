#include "train/graph/train_graph.h"

#include "ops/embedding_backward.h"
#include "ops/finite.h"
#include "ops/norm.h"
#include "ops/norm_backward.h"

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/grad_mode.h>
#include <tetrad/base/error.h>

#include <utility>

namespace tetrad::train {

TrainGraph::TrainGraph(model::Transformer& model, GraphOptions options)
    : model_(model),
      linear_(model),
      block_(model, options.checkpointing),
      head_(model, options.head_budget_bytes) {}

at::Tensor TrainGraph::run(const StepInput& input, bool keep) {
  const at::NoGradGuard no_grad;
  const at::AutoDispatchBelowADInplaceOrView below_autograd;
  forget();
  model_.rope().reserve(input.longest_position, model_.setup().dtype);
  const std::int64_t layers = model_.config().num_hidden_layers;
  if (keep) saved_.resize(static_cast<std::size_t>(layers));
  at::Tensor x = linear_.gather(model_.embedding(), input.ids);
  for (std::int64_t layer = 0; layer < layers; ++layer)
    x = block_.forward(layer, x, input, keep ? &saved_[static_cast<std::size_t>(layer)] : nullptr);
  const at::Tensor normed =
      ops::rms_norm(x, model_.norm_weight(model_.final_norm()), model_.config().rms_norm_eps);
  if (keep) last_ = std::move(x);
  at::Tensor losses = head_.forward(normed, input);
  if (!keep) head_.forget();
  return losses;
}

at::Tensor TrainGraph::forward(const StepInput& input) {
  return run(input, true);
}

at::Tensor TrainGraph::evaluate(const StepInput& input) {
  return run(input, false);
}

void TrainGraph::backward(const StepInput& input, double scale, GradientReceiver& gradients) {
  if (!last_.defined()) throw Error("[train] backward without a forward before it");
  const at::NoGradGuard no_grad;
  const at::AutoDispatchBelowADInplaceOrView below_autograd;
  try {
    const at::Tensor dnormed = head_.backward(scale, gradients);
    ops::NormGradient norm =
        ops::rms_norm_backward(dnormed, std::exchange(last_, at::Tensor()),
                               model_.norm_weight(model_.final_norm()), model_.config().rms_norm_eps);
    gradients.add(model_.final_norm(), std::move(norm.dweight));
    at::Tensor dx = std::move(norm.dx);
    while (!saved_.empty()) {
      BlockSaved saved = std::move(saved_.back());
      saved_.pop_back();
      const auto layer = static_cast<std::int64_t>(saved_.size());
      dx = block_.backward(layer, std::move(dx), std::move(saved), input, gradients);
    }
    const ops::EmbeddingGradient embedding = ops::embedding_backward(dx, input.ids);
    gradients.add_rows(*model_.embedding().parameter, embedding.ids, embedding.rows);
  } catch (...) {
    forget();
    throw;
  }
}

std::string TrainGraph::first_non_finite(const StepInput& input) {
  const at::NoGradGuard no_grad;
  const at::AutoDispatchBelowADInplaceOrView below_autograd;
  forget();
  model_.rope().reserve(input.longest_position, model_.setup().dtype);
  at::Tensor x = linear_.gather(model_.embedding(), input.ids);
  if (!ops::all_finite(x)) return "before layer 0, tensor 'embed_tokens'";
  const BlockGraph keeping(model_, Checkpointing::none);
  for (std::int64_t layer = 0; layer < model_.config().num_hidden_layers; ++layer) {
    BlockSaved s;
    x = keeping.forward(layer, x, input, &s);
    const std::pair<const char*, const at::Tensor*> seen[] = {{"q_proj", &s.q},
                                                              {"k_proj", &s.k},
                                                              {"v_proj", &s.v},
                                                              {"attention", &s.attended.out},
                                                              {"after attention", &s.middle},
                                                              {"gate_proj", &s.gate},
                                                              {"up_proj", &s.up},
                                                              {"residual", &x}};
    for (const auto& [name, value] : seen)
      if (!ops::all_finite(*value)) return "layer " + std::to_string(layer) + ", tensor '" + name + "'";
  }
  return "the final norm or the head";
}

void TrainGraph::forget() {
  saved_.clear();
  last_ = at::Tensor();
  head_.forget();
}

std::int64_t TrainGraph::saved_bytes() const {
  std::int64_t sum = last_.defined() ? static_cast<std::int64_t>(last_.nbytes()) : 0;
  for (const BlockSaved& saved : saved_) sum += saved.bytes();
  return sum;
}

}  // namespace tetrad::train

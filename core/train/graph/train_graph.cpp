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

at::Tensor TrainGraph::trunk(const StepInput& input, std::vector<BlockSaved>* saved) {
  model_.rope().reserve(input.longest_position, model_.setup().dtype);
  const std::int64_t layers = model_.config().num_hidden_layers;
  if (saved != nullptr) saved->resize(static_cast<std::size_t>(layers));
  at::Tensor x = linear_.gather(model_.embedding(), input.ids);
  for (std::int64_t layer = 0; layer < layers; ++layer)
    x = block_.forward(layer, x, input,
                       saved != nullptr ? &(*saved)[static_cast<std::size_t>(layer)] : nullptr);
  return x;
}

at::Tensor TrainGraph::final_normed(const at::Tensor& x) const {
  return ops::rms_norm(x, model_.norm_weight(model_.final_norm()), model_.config().rms_norm_eps);
}

at::Tensor TrainGraph::run(const StepInput& input, bool keep) {
  const at::NoGradGuard no_grad;
  const at::AutoDispatchBelowADInplaceOrView below_autograd;
  forget();
  at::Tensor x = trunk(input, keep ? &saved_ : nullptr);
  const at::Tensor normed = final_normed(x);
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

at::Tensor TrainGraph::head_backward(const at::Tensor& x, double scale, GradientReceiver& gradients) {
  const at::Tensor dnormed = head_.backward(scale, gradients);
  ops::NormGradient norm = ops::rms_norm_backward(dnormed, x, model_.norm_weight(model_.final_norm()),
                                                  model_.config().rms_norm_eps);
  gradients.add(model_.final_norm(), std::move(norm.dweight));
  return std::move(norm.dx);
}

void TrainGraph::embedding_backward(const at::Tensor& dx, const StepInput& input,
                                    GradientReceiver& gradients) {
  const ops::EmbeddingGradient embedding = ops::embedding_backward(dx, input.ids);
  gradients.add_rows(*model_.embedding().parameter, embedding.ids, embedding.rows);
}

void TrainGraph::backward(const StepInput& input, double scale, GradientReceiver& gradients) {
  if (!last_.defined()) throw Error("[train] backward without a forward before it");
  const at::NoGradGuard no_grad;
  const at::AutoDispatchBelowADInplaceOrView below_autograd;
  try {
    at::Tensor dx = head_backward(std::exchange(last_, at::Tensor()), scale, gradients);
    while (!saved_.empty()) {
      BlockSaved saved = std::move(saved_.back());
      saved_.pop_back();
      const auto layer = static_cast<std::int64_t>(saved_.size());
      dx = block_.backward(layer, std::move(dx), std::move(saved), input, gradients);
    }
    embedding_backward(dx, input, gradients);
  } catch (...) {
    forget();
    throw;
  }
}

void TrainGraph::breadth_first(std::span<const StepInput> inputs, double scale, GradientReceiver& gradients,
                               const OnLosses& on_losses) {
  const at::NoGradGuard no_grad;
  const at::AutoDispatchBelowADInplaceOrView below_autograd;
  forget();
  try {
    std::vector<at::Tensor> dx(inputs.size());
    batches_.resize(inputs.size());
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      const at::Tensor x = trunk(inputs[i], &batches_[i]);
      on_losses(i, head_.forward(final_normed(x), inputs[i]));
      dx[i] = head_backward(x, scale, gradients);
    }
    for (std::int64_t layer = model_.config().num_hidden_layers - 1; layer >= 0; --layer) {
      for (std::size_t i = 0; i < inputs.size(); ++i) {
        BlockSaved saved = std::move(batches_[i].back());
        batches_[i].pop_back();
        dx[i] = block_.backward(layer, std::move(dx[i]), std::move(saved), inputs[i], gradients);
      }
    }
    for (std::size_t i = 0; i < inputs.size(); ++i)
      embedding_backward(std::exchange(dx[i], at::Tensor()), inputs[i], gradients);
    forget();
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
  batches_.clear();
  last_ = at::Tensor();
  head_.forget();
}

std::int64_t TrainGraph::saved_bytes() const {
  std::int64_t sum = last_.defined() ? static_cast<std::int64_t>(last_.nbytes()) : 0;
  for (const BlockSaved& saved : saved_) sum += saved.bytes();
  for (const std::vector<BlockSaved>& batch : batches_)
    for (const BlockSaved& saved : batch) sum += saved.bytes();
  return sum;
}

}  // namespace tetrad::train

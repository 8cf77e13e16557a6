#include "train/trainer/step_flops.h"

namespace tetrad::train {

StepFlops step_flops(const model::ModelConfig& config, Checkpointing checkpointing, const StepWork& work) {
  const auto hidden = static_cast<double>(config.hidden_size),
             inner = static_cast<double>(config.intermediate_size);
  const auto q = static_cast<double>(config.q_size()), kv = static_cast<double>(config.kv_size());
  const auto layers = static_cast<double>(config.num_hidden_layers);
  const double each = 2.0 * static_cast<double>(work.tokens) * layers;  // per element of a block's matrices
  const double attention_matrices = each * (hidden * (q + 2.0 * kv) + q * hidden);
  const double gate_up = each * 2.0 * hidden * inner, down = each * hidden * inner;
  // Scores and their product with v, each 2 q L^2, half of it hidden by the causal mask.
  const double attention = 2.0 * work.document_squares * q * layers;
  const double per_logit = 2.0 * hidden * static_cast<double>(config.vocab_size);
  const double head = per_logit * static_cast<double>(work.scored);

  StepFlops flops;
  const double products = attention_matrices + gate_up + down + head;
  flops.forward = products + attention;
  flops.backward = 2.0 * products + 2.5 * attention;
  flops.recompute = per_logit * static_cast<double>(work.scored_tiled);
  if (checkpointing != Checkpointing::none) flops.recompute += gate_up;
  if (checkpointing == Checkpointing::block) flops.recompute += attention_matrices + attention;
  return flops;
}

}  // namespace tetrad::train

#include "train/trainer/forecast.h"

#include "model/names.h"
#include "model/plugin_call.h"

#include <c10/core/ScalarType.h>
#include "train/trainer/bytes_text.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>

namespace tetrad::train {
namespace {

Format stored_as(at::ScalarType dtype) {
  return dtype == at::kFloat ? Format::fp32 : dtype == at::kHalf ? Format::fp16 : Format::bf16;
}

Role role_of(model::TensorRole role) {
  return role == model::TensorRole::embedding ? Role::embedding
         : role == model::TensorRole::norm    ? Role::norm
                                              : Role::linear;
}

bool frozen(const TrainSettings& settings, const std::string& name) {
  return std::any_of(settings.freeze.begin(), settings.freeze.end(),
                     [&](const std::string& pattern) { return name_matches(pattern, name); });
}

// Values a token leaves behind in one block; training graph's BlockSaved.
std::int64_t kept_per_token(const model::ModelConfig& c, Checkpointing checkpointing) {
  std::int64_t values = c.hidden_size;
  if (checkpointing == Checkpointing::block) return values;
  values += 2 * c.q_size() + 2 * c.kv_size() + c.hidden_size;
  if (checkpointing == Checkpointing::none) values += 2 * c.intermediate_size;
  return values;
}

}  // namespace

std::int64_t Forecast::peak() const noexcept {
  const std::int64_t forward = activations + head;
  const std::int64_t backward = gradients + waiting + std::max(activations + head, activations + block);
  return loaded() + std::max({forward, backward, gradients + update});
}

Forecast forecast(const model::ModelConfig& config, const Optimizer& optimizer,
                  const std::string& optimizer_id, const TrainSettings& settings,
                  const ForecastInput& input) {
  const auto size = static_cast<std::int64_t>(c10::elementSize(input.dtype));
  const bool immediate = settings.gradients == GradientMode::immediate;
  Forecast f;
  std::int64_t largest_dense = 0;
  for (const model::ExpectedTensor& tensor : model::expected_tensors(config)) {
    std::int64_t elements = 1;
    for (const std::int64_t extent : tensor.shape) elements *= extent;
    f.elements += elements;
    if (frozen(settings, tensor.name)) {
      f.weights += elements * size;
      continue;
    }
    StorageTable row;
    model::check(optimizer.forecast(tensor.shape, role_of(tensor.role),
                                    tensor.shape.size() == 1 ? Format::fp32 : stored_as(input.dtype), row),
                 optimizer_id, "forecast of " + tensor.name);
    f.weights += row.w.bytes;
    f.state += row.state_bytes();
    if (!immediate) f.gradients += row.grad.bytes;
    const std::int64_t sum_size = settings.micro_batches > 1 ? (settings.accumulate_bf16 ? 2 : 4) : size;
    if (settings.micro_batches > 1)
      f.waiting += elements * sum_size;
    else if (tensor.uses > 1)
      f.waiting += elements * size;
    largest_dense = std::max(largest_dense, elements * size);
  }
  const std::int64_t tokens = input.rows * input.width;
  const std::int64_t layers = config.num_hidden_layers;
  f.activations =
      tokens * size * (layers * kept_per_token(config, settings.checkpointing) + config.hidden_size);
  if (settings.checkpointing != Checkpointing::block)
    f.activations += tokens * layers * config.num_attention_heads * 4;
  f.head = std::min(settings.head_budget_bytes,
                    tokens * config.vocab_size * (size + (input.cuda && size == 2 ? 0 : 16))) +
           2 * tokens * config.hidden_size * 4;
  // SwiGLU's gradient holds five fp32 temporaries of the inner width, a norm's four of the hidden one, beside
  // what the recomputation puts back and one dense weight gradient. The kernels of a CUDA device need none.
  const bool fused = input.cuda && size == 2;
  f.block = tokens * (config.intermediate_size * ((fused ? 0 : 5 * 4) + 3 * size) +
                      config.hidden_size * ((fused ? 0 : 4 * 4) + 8 * size) +
                      (5 * config.q_size() + 4 * config.kv_size()) * size) +
            largest_dense;
  f.update = largest_dense * 2;
  return f;
}

std::string Forecast::text(const std::string& optimizer) const {
  return fmt::format(
      "{:<22} {:>10} loaded (w {}, m + v + master {}), gradients {} + {} waiting, activations {}, head {}, "
      "block {}: "
      "peak {}",
      optimizer, bytes_text(loaded()), bytes_text(weights), bytes_text(state), bytes_text(gradients),
      bytes_text(waiting), bytes_text(activations), bytes_text(head), bytes_text(block), bytes_text(peak()));
}

nlohmann::json Forecast::json() const {
  return {{"elements", elements},       {"weights", weights}, {"state", state}, {"gradients", gradients},
          {"waiting", waiting},         {"head", head},       {"block", block}, {"update", update},
          {"activations", activations}, {"loaded", loaded()}, {"peak", peak()}};
}

}  // namespace tetrad::train

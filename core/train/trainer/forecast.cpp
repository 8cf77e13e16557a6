#include "train/trainer/forecast.h"

#include "model/names.h"
#include "model/plugin_call.h"

#include <c10/core/ScalarType.h>
#include "train/trainer/bytes_text.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <vector>

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

// What cuBLAS and cuBLASLt take of a Hopper card through libtorch; measured figures stand in a run's phases.
constexpr std::int64_t kLibraries = std::int64_t{64} << 20;

// Breadth-first accumulation: the gradients of one block wait at a time, beside a tied embedding's, which
// waits for the last lookup; embedding and head of their own wait before and after the blocks.
class BlockSums {
 public:
  void add(const model::ExpectedTensor& tensor, std::int64_t bytes) {
    const std::string layers = "model.layers.";
    if (tensor.name.starts_with(layers))
      blocks_[tensor.name.substr(0, tensor.name.find('.', layers.size()))] += bytes;
    else if (tensor.uses > 1)
      tied_ += bytes;
    else
      alone_ = std::max(alone_, bytes);
  }
  std::int64_t most() const {
    std::int64_t block = 0;
    for (const auto& [name, bytes] : blocks_) block = std::max(block, bytes);
    return tied_ + std::max(block, alone_);
  }

 private:
  std::map<std::string, std::int64_t> blocks_;
  std::int64_t tied_ = 0, alone_ = 0;
};

}  // namespace

std::int64_t Forecast::step() const noexcept {
  const std::int64_t forward = activations + head;
  const std::int64_t backward = gradients + waiting + std::max(activations + head, activations + block);
  return std::max({forward, backward, gradients + update});
}

std::int64_t Forecast::peak() const noexcept {
  return loaded() + workspace + std::max({step(), answers, check});
}

Forecast forecast(const model::ModelConfig& config, const Optimizer& optimizer,
                  const std::string& optimizer_id, const TrainSettings& settings,
                  const ForecastInput& input) {
  const auto size = static_cast<std::int64_t>(c10::elementSize(input.dtype));
  const bool immediate = settings.gradients == GradientMode::immediate;
  Forecast f;
  const bool breadth_first = settings.breadth_first && settings.micro_batches > 1;
  BlockSums sums;
  std::int64_t largest_dense = 0;
  std::vector<std::int64_t> moved;  // bytes of each state that comes from pinned host memory
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
    if (row.state_on_host) {
      f.pinned += row.state_bytes();
      moved.push_back(row.state_bytes());
    } else {
      f.state += row.state_bytes();
    }
    if (!immediate) f.gradients += row.grad.bytes;
    const std::int64_t sum_size = settings.micro_batches > 1 ? (settings.accumulate_bf16 ? 2 : 4) : size;
    if (breadth_first)
      sums.add(tensor, elements * sum_size);
    else if (settings.micro_batches > 1)
      f.waiting += elements * sum_size;
    else if (tensor.uses > 1)
      f.waiting += elements * size;
    largest_dense = std::max(largest_dense, elements * size);
  }
  if (breadth_first) f.waiting = sums.most();
  const std::int64_t tokens = input.rows * input.width;
  const std::int64_t layers = config.num_hidden_layers;
  f.activations =
      tokens * size * (layers * kept_per_token(config, settings.checkpointing) + config.hidden_size);
  if (settings.checkpointing != Checkpointing::block)
    f.activations += tokens * layers * config.num_attention_heads * 4;
  // Of every micro-batch, and the gradient of its residual stream.
  if (breadth_first)
    f.activations = settings.micro_batches * (f.activations + tokens * config.hidden_size * size);
  const bool fused = input.cuda && size == 2;  // the kernels of a CUDA device need no fp32 temporaries
  f.head = std::min(settings.head_budget_bytes, tokens * config.vocab_size * (size + (fused ? 0 : 16))) +
           2 * tokens * config.hidden_size * 4;
  // SwiGLU's gradient holds five fp32 temporaries of the inner width, a norm's four of the hidden one, beside
  // what the recomputation puts back and one dense weight gradient.
  f.block = tokens * (config.intermediate_size * ((fused ? 0 : 5 * 4) + 3 * size) +
                      config.hidden_size * ((fused ? 0 : 4 * 4) + 8 * size) +
                      (5 * config.q_size() + 4 * config.kv_size()) * size) +
            largest_dense;
  f.update = largest_dense * 2;
  // On the device: the state that is updated, the one that comes and the one that leaves (the ring of
  // PinnedStates in plugins/common/optim).
  std::sort(moved.begin(), moved.end(), std::greater<>());
  moved.resize(std::max<std::size_t>(moved.size(), 2), 0);
  f.workspace = moved[0] + 2 * moved[1] + (input.cuda ? kLibraries : 0) + (input.decodes ? largest_dense : 0);
  const std::int64_t dense = f.elements * size;
  if (input.eval_cache) f.answers = dense;
  // Dense weights; or planes with their eval cache, on the training path.
  if (input.exported != ForecastInput::Export::none)
    f.check = dense + (input.exported == ForecastInput::Export::planes ? f.weights : 0);
  return f;
}

std::string Forecast::text(const std::string& optimizer) const {
  return fmt::format(
      "{:<22} {:>10} loaded (w {}, m + v + master {}), gradients {} + {} waiting, activations {}, head {}, "
      "block {}, "
      "workspace {}{}: peak {}{}",
      optimizer, bytes_text(loaded()), bytes_text(weights), bytes_text(state), bytes_text(gradients),
      bytes_text(waiting), bytes_text(activations), bytes_text(head), bytes_text(block),
      bytes_text(workspace),
      check > step() && check >= answers ? ", export's check " + bytes_text(check) : "", bytes_text(peak()),
      pinned > 0 ? ", m + v + master in pinned host memory: " + bytes_text(pinned) : "");
}

nlohmann::json Forecast::json() const {
  return {{"elements", elements},   {"weights", weights},         {"state", state},
          {"gradients", gradients}, {"waiting", waiting},         {"head", head},
          {"block", block},         {"update", update},           {"pinned", pinned},
          {"workspace", workspace}, {"answers", answers},         {"check", check},
          {"step", step()},         {"activations", activations}, {"loaded", loaded()},
          {"peak", peak()}};
}

}  // namespace tetrad::train

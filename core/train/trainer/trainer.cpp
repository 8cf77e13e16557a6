#include "train/trainer/trainer.h"

#include "model/plugin_call.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/full.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>
#include <tetrad/base/error.h>

#include <chrono>
#include <cmath>
#include <utility>

namespace tetrad::train {
namespace {

// As torch.nn.utils.clip_grad_norm_ keeps a norm of 0 from dividing.
constexpr double kNormEpsilon = 1e-6;

}  // namespace

Trainer::Trainer(model::Transformer& model, OptimizerStates& states, TrainSettings settings)
    : model_(model),
      states_(states),
      settings_(std::move(settings)),
      sink_(model.parameters(), states.gradient_formats(), sink_options()),
      graph_(model, {settings_.checkpointing, settings_.head_budget_bytes}) {}

SinkOptions Trainer::sink_options() {
  SinkOptions options;
  options.dtype = model_.setup().dtype;
  options.micro_batches = settings_.micro_batches;
  options.accumulate = settings_.accumulate_bf16 ? at::kBFloat16 : at::kFloat;
  if (settings_.gradients == GradientMode::immediate)
    options.immediate = [this](const Parameter& parameter, const at::Tensor& gradient) {
      update_now(parameter, gradient);
    };
  return options;
}

double Trainer::clip_factor(double norm) const {
  if (settings_.clip == Clip::none || norm <= settings_.max_norm) return 1.0;
  return settings_.max_norm / (norm + kNormEpsilon);
}

StepFactors Trainer::factors(double clip_factor, double lr, bool measure) {
  const auto options = at::TensorOptions().device(model_.setup().device);
  StepFactors f;
  f.step = progress_.updates + 1;
  f.lr = lr;
  f.scale = at::full({1}, clip_factor, options.dtype(at::kFloat));
  f.stop = at::zeros({1}, options.dtype(at::kInt));
  f.measure = measure;
  return f;
}

void Trainer::update_now(const Parameter& parameter, const at::Tensor& gradient) {
  UpdateItem item;
  item.state = states_.state(parameter);
  item.gradient.dense = gradient.scalar_type() == at::kHalf ? gradient.to(at::kFloat) : gradient.contiguous();
  model::check(states_.optimizer().update({&item, 1}, factors_), states_.id(), "update of " + parameter.name);
}

void Trainer::update_all() {
  std::vector<UpdateItem> items;
  for (const Parameter& parameter : model_.parameters()) {
    if (!states_.trains(parameter)) continue;
    items.push_back({states_.state(parameter), sink_.take(parameter)});
  }
  model::check(states_.optimizer().update(items, factors_), states_.id(), "update");
}

void Trainer::require_untorn() {
  const int torn = factors_.stop.item<int>();
  if (torn == 0) return;
  std::string name = fmt::format("state {}", torn - 1);
  for (const Parameter& parameter : model_.parameters())
    if (states_.trains(parameter) && states_.state(parameter) == torn - 1) name = parameter.name;
  throw Error(
      ExitCode::numerics,
      fmt::format("[train] step {}: the gradient of {} or its update is not finite and some "
                  "parameters were updated already; this state is not saved, go on from the last checkpoint "
                  "(train.resume)",
                  progress_.step + 1, name));
}

void Trainer::collect_proofs() {
  proofs_.clear();
  for (const Parameter& parameter : model_.parameters()) {
    if (!states_.trains(parameter)) continue;
    ParameterProof proof{parameter.name, sink_.proof(parameter), {}};
    model::check(states_.optimizer().proof(states_.state(parameter), proof.update), states_.id(),
                 "proof of " + parameter.name);
    proofs_.push_back(std::move(proof));
  }
}

std::vector<std::string> Trainer::unmoved() const {
  std::vector<std::string> names;
  for (const ParameterProof& proof : proofs_) {
    if (proof.gradient.norm == 0.0)
      names.push_back(proof.name + " (its gradient is zero)");
    else if (proof.update.step == 0)
      names.push_back(proof.name + " (the optimizer did not update it)");
    else if (proof.update.state_moved == 0.0)
      names.push_back(proof.name + " (its optimizer state did not move)");
  }
  return names;
}

StepReport Trainer::step(const std::vector<Batch>& batches, bool measure, const OnPhase& on_phase) {
  const at::NoGradGuard no_grad;
  const auto start = std::chrono::steady_clock::now();
  auto lap = start;
  // Called where the device has just been waited for.
  const auto seconds_of_lap = [&lap] {
    const auto begin = std::exchange(lap, std::chrono::steady_clock::now());
    return std::chrono::duration<double>(lap - begin).count();
  };
  const auto phase = [&](const char* name) {
    if (on_phase) on_phase(name);
  };
  StepReport report;
  report.step = progress_.step + 1;
  report.lr = learning_rate(settings_.schedule, progress_.step);
  for (const Batch& batch : batches) {
    report.tokens += batch.tokens;
    report.scored += batch.scored;
  }
  sink_.begin_step(measure);
  const bool immediate = settings_.gradients == GradientMode::immediate;
  const bool by_previous = settings_.clip == Clip::previous_norm && progress_.previous_norm > 0.0;
  if (immediate) {
    report.clip_factor = by_previous ? clip_factor(progress_.previous_norm) : 1.0;
    factors_ = factors(report.clip_factor, report.lr, measure);
  }
  phase("zero_grad_done");
  const double scale = 1.0 / static_cast<double>(report.scored);
  for (const Batch& batch : batches) {
    const StepInput input = StepInput::make(batch, model_.config().vocab_size, model_.setup().device);
    phase("batch_ready");
    const double nll = at::sum(graph_.forward(input), at::kDouble).item<double>();
    report.forward_seconds += seconds_of_lap();
    phase("forward_done");
    report.loss += nll * scale;
    if (!std::isfinite(nll)) {
      throw Error(
          ExitCode::numerics,
          fmt::format(
              "[train] step {}: the loss is {}; the first value that is not finite is in {}. Nothing was "
              "updated; go on from the last checkpoint with a smaller train.learning_rate",
              report.step, nll, graph_.first_non_finite(input)));
    }
    graph_.backward(input, scale, sink_);
    phase("backward_done");
    if (&batch != &batches.back()) report.backward_seconds += seconds_of_lap();
  }
  const GradientTotals totals = sink_.totals();
  report.backward_seconds += seconds_of_lap();
  report.norm = totals.norm;
  if (immediate) {
    require_untorn();
  } else if (totals.non_finite) {
    report.skipped = fmt::format("the gradient of {} is not finite", *totals.non_finite);
  } else {
    report.clip_factor = clip_factor(
        settings_.clip == Clip::previous_norm ? (by_previous ? progress_.previous_norm : 0.0) : totals.norm);
    factors_ = factors(report.clip_factor, report.lr, measure);
    update_all();
    require_untorn();  // waits for the device
  }
  report.optimizer_seconds = seconds_of_lap();
  phase("optimizer_step_done");
  ++progress_.step;
  progress_.tokens += report.tokens;
  if (report.skipped) {
    sink_.begin_step(false);
    if (++progress_.skipped_in_a_row >= settings_.max_skipped)
      throw Error(ExitCode::numerics,
                  fmt::format("[train] step {}: {}; {} steps in a row were skipped (train.max_skipped)",
                              report.step, *report.skipped, progress_.skipped_in_a_row));
  } else {
    ++progress_.updates;
    progress_.skipped_in_a_row = 0;
    progress_.previous_norm = totals.norm;
    if (measure) collect_proofs();
  }
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report;
}

bool Trainer::recompute_blocks() {
  if (settings_.checkpointing == Checkpointing::block) return false;
  settings_.checkpointing = Checkpointing::block;
  graph_.set_checkpointing(Checkpointing::block);
  return true;
}

Trainer::Score Trainer::evaluate(const Batch& batch) {
  const StepInput input = StepInput::make(batch, model_.config().vocab_size, model_.setup().device);
  return {at::sum(graph_.evaluate(input), at::kDouble).item<double>(), batch.scored};
}

}  // namespace tetrad::train

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
#include <limits>
#include <utility>

namespace tetrad::train {
namespace {

// As torch.nn.utils.clip_grad_norm_ keeps a norm of 0 from dividing.
constexpr double kNormEpsilon = 1e-6;

void add_work(StepWork& work, const StepInput& input, bool tiled) {
  const std::int64_t scored = input.scored.size(0);
  work.tokens += input.tokens();
  work.scored += scored;
  if (tiled) work.scored_tiled += scored;
  for (const ops::Segment& s : input.documents.segments)
    work.document_squares += static_cast<double>(s.length) * static_cast<double>(s.length);
}

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
  if (settings_.clip == Clip::none || settings_.clip == Clip::update_rms || norm <= settings_.max_norm)
    return 1.0;
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
  if (settings_.clip == Clip::update_rms) f.max_update_rms = settings_.max_norm;
  return f;
}

UpdateItem Trainer::item_of(const Parameter& parameter, Gradient gradient) const {
  const StateId state = states_.state(parameter);
  return {state, std::move(gradient), rms_.defined() ? rms_.narrow(0, state, 1) : at::Tensor()};
}

void Trainer::begin_rms() {
  if (settings_.clip != Clip::update_rms) return;
  std::int64_t count = 0;
  for (const Parameter& parameter : model_.parameters()) count += states_.trains(parameter) ? 1 : 0;
  rms_ = at::full({count}, std::numeric_limits<float>::quiet_NaN(),
                  at::TensorOptions().dtype(at::kFloat).device(model_.setup().device));
}

UpdateRms Trainer::collect_rms() const {
  const at::Tensor values = rms_.cpu();
  UpdateRms rms;
  for (const Parameter& parameter : model_.parameters()) {
    if (!states_.trains(parameter)) continue;
    const double value = values[states_.state(parameter)].item<double>();
    if (std::isnan(value))
      throw Error(
          ExitCode::plugin_refused,
          fmt::format("[{}] did not measure the update of {}: it does not know clipping by update_rms; "
                      "set train.clip to previous_norm, global_norm or none",
                      states_.id(), parameter.name));
    ++rms.parameters;
    if (value > settings_.max_norm) ++rms.clipped;
    if (rms.where.empty() || value > rms.largest) {
      rms.largest = value;
      rms.where = parameter.name;
    }
  }
  return rms;
}

void Trainer::update_now(const Parameter& parameter, const at::Tensor& gradient) {
  Gradient dense;
  dense.dense = gradient.scalar_type() == at::kHalf ? gradient.to(at::kFloat) : gradient.contiguous();
  const UpdateItem item = item_of(parameter, std::move(dense));
  model::check(states_.optimizer().update({&item, 1}, factors_), states_.id(), "update of " + parameter.name);
}

void Trainer::update_all() {
  std::vector<UpdateItem> items;
  for (const Parameter& parameter : model_.parameters()) {
    if (!states_.trains(parameter)) continue;
    items.push_back(item_of(parameter, sink_.take(parameter)));
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
  report.lr = settings_.rate(progress_.step);
  for (const Batch& batch : batches) {
    report.tokens += batch.tokens;
    report.scored += batch.scored;
  }
  sink_.begin_step(measure);
  begin_rms();
  const bool immediate = settings_.gradients == GradientMode::immediate;
  const bool by_previous = settings_.clip == Clip::previous_norm && progress_.previous_norm > 0.0;
  if (immediate) {
    report.clip_factor = by_previous ? clip_factor(progress_.previous_norm) : 1.0;
    factors_ = factors(report.clip_factor, report.lr, measure);
  }
  phase("zero_grad_done");
  const double scale = 1.0 / static_cast<double>(report.scored);
  StepWork work;
  const auto take_losses = [&](const StepInput& input, const at::Tensor& losses) {
    const double nll = at::sum(losses, at::kDouble).item<double>();
    report.forward_seconds += seconds_of_lap();
    phase("forward_done");
    report.loss += nll * scale;
    if (std::isfinite(nll)) return;
    throw Error(
        ExitCode::numerics,
        fmt::format(
            "[train] step {}: the loss is {}; the first value that is not finite is in {}. Nothing was "
            "updated; go on from the last checkpoint with a smaller train.learning_rate",
            report.step, nll, graph_.first_non_finite(input)));
  };
  const auto input_of = [&](const Batch& batch) {
    StepInput input = StepInput::make(batch, model_.config().vocab_size, model_.setup().device);
    add_work(work, input, graph_.tiles_head(input.scored.size(0)));
    return input;
  };
  if (settings_.breadth_first && batches.size() > 1) {
    std::vector<StepInput> inputs;
    for (const Batch& batch : batches) inputs.push_back(input_of(batch));
    phase("batch_ready");
    graph_.breadth_first(inputs, scale, sink_,
                         [&](std::size_t i, const at::Tensor& losses) { take_losses(inputs[i], losses); });
    phase("backward_done");
  } else {
    for (const Batch& batch : batches) {
      const StepInput input = input_of(batch);
      phase("batch_ready");
      take_losses(input, graph_.forward(input));
      graph_.backward(input, scale, sink_);
      phase("backward_done");
      if (&batch != &batches.back()) report.backward_seconds += seconds_of_lap();
    }
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
  if (rms_.defined() && !report.skipped) report.update_rms = collect_rms();
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
  report.flops = step_flops(model_.config(), settings_.checkpointing, work).all();
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

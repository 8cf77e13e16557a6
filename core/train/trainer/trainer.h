// One training step after another: batches in, updated parameters out. Knows nothing of files, configs or
// terminals.
//
// Two-phase: forward and backward of all micro-batches, then the norm, then either every parameter is updated
// or, when a gradient is not finite, none is. Immediate: a parameter is updated as soon as its gradient is
// complete; a non-finite gradient then tears the step: later updates are stopped by a word on the device, and
// the step ends in an Error, because what it left behind must not be saved.
#pragma once

#include "train/data/batch.h"
#include "train/graph/train_graph.h"
#include "train/sink/gradient_sink.h"
#include "train/trainer/optimizer_states.h"
#include "train/trainer/step_flops.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace tetrad::train {

// Of a step that clips by update_rms.
struct UpdateRms {
  double largest = 0.0;  // before it was limited
  std::string where;     // the parameter that has it
  std::int64_t clipped = 0, parameters = 0;
};

struct StepReport {
  std::int64_t step = 0;  // counted from 1
  double loss = 0.0;      // mean over the scored tokens, nats
  double lr = 0.0;
  double norm = 0.0;  // of all gradients together, before clipping
  double clip_factor = 1.0;
  std::int64_t tokens = 0, scored = 0;
  double seconds = 0.0;
  // Its parts: until the losses are known, until all gradients are stored and their norm is known (with
  // immediate gradients: applied, as far as they are enqueued), and until the device is done with the update.
  double forward_seconds = 0.0, backward_seconds = 0.0, optimizer_seconds = 0.0;
  double flops = 0.0;  // of its products and attention, what is computed again included
  std::optional<UpdateRms> update_rms;
  std::optional<std::string> skipped;  // why nothing was updated
};

// Evidence that one parameter trains.
struct ParameterProof {
  std::string name;
  GradientProof gradient;
  UpdateProof update;
};

class Trainer {
 public:
  // Called at the phases of a step ("batch_ready", "forward_done", ...), for memory reports.
  using OnPhase = std::function<void(const char* phase)>;

  // model and states outlive the trainer; every parameter has been prepared.
  Trainer(model::Transformer& model, OptimizerStates& states, TrainSettings settings);

  // One step over settings.micro_batches batches. `measure`: proofs() afterwards tells what it did to each
  // parameter. Throws Error(numerics) for a loss that is not finite (before any backward), for the last of
  // settings.max_skipped skipped steps in a row, and for a torn step.
  StepReport step(const std::vector<Batch>& batches, bool measure, const OnPhase& on_phase = {});

  // Mean negative log likelihood over the scored tokens of a batch, and how many they are.
  struct Score {
    double nll = 0.0;  // sum
    std::int64_t tokens = 0;
  };
  Score evaluate(const Batch& batch);

  // Of the last step with `measure` that was not skipped.
  const std::vector<ParameterProof>& proofs() const noexcept { return proofs_; }
  // Parameters that such a step did not move although they should have: without gradient, state or change.
  std::vector<std::string> unmoved() const;

  std::int64_t gradient_bytes() const noexcept { return sink_.bytes(); }
  std::int64_t activation_bytes() const { return graph_.saved_bytes(); }
  // Between two steps, where memory runs short: later steps keep each block's input alone, as with
  // train.checkpointing block; their numbers are the same. False: they did so before.
  bool recompute_blocks();
  const TrainSettings& settings() const noexcept { return settings_; }

  // What a checkpoint keeps of the trainer itself.
  struct Progress {
    std::int64_t step = 0;     // finished steps, skipped ones too
    std::int64_t updates = 0;  // steps that updated
    std::int64_t skipped_in_a_row = 0;
    double previous_norm = 0.0;
    std::int64_t tokens = 0;
  };
  const Progress& progress() const noexcept { return progress_; }
  void resume(const Progress& progress) { progress_ = progress; }

 private:
  SinkOptions sink_options();
  StepFactors factors(double clip_factor, double lr, bool measure);
  void update_now(const Parameter& parameter, const at::Tensor& gradient);
  void update_all();
  void collect_proofs();
  void require_untorn();
  UpdateItem item_of(const Parameter& parameter, Gradient gradient) const;
  void begin_rms();
  UpdateRms collect_rms() const;
  double clip_factor(double norm) const;

  model::Transformer& model_;
  OptimizerStates& states_;
  TrainSettings settings_;
  GradientSink sink_;
  TrainGraph graph_;
  Progress progress_;
  StepFactors factors_;
  at::Tensor rms_;  // fp32 [parameters that train], by StateId: NaN until the optimizer has written it
  std::vector<ParameterProof> proofs_;
};

}  // namespace tetrad::train

// The `train` section of a config as one type, checked for what the schema cannot say.
#pragma once

#include "train/graph/block_graph.h"
#include "train/schedule/schedule.h"

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

namespace tetrad::train {

enum class GradientMode : std::uint8_t { two_phase, immediate };

enum class Clip : std::uint8_t {
  none,
  global_norm,    // by this step's norm over all gradients; two-phase alone knows it in time
  previous_norm,  // by the last step's
  update_rms,     // each parameter for itself, by what its gradient alone would move (StepFactors)
};

struct TrainSettings {
  ScheduleSettings schedule;
  double weight_decay = 0.0;
  std::vector<std::string> no_decay, freeze;  // patterns of parameter names
  std::int64_t micro_batches = 1;
  bool accumulate_bf16 = false;
  bool breadth_first = false;  // several micro-batches: block by block over all of them, sums in fp32
  GradientMode gradients = GradientMode::two_phase;
  Clip clip = Clip::global_norm;
  double max_norm = 1.0;
  std::int64_t max_skipped = 3;  // bad steps in a row that end the run
  Checkpointing checkpointing = Checkpointing::none;
  std::int64_t head_budget_bytes = std::int64_t{512} << 20;
  std::uint64_t seed = 0;
  std::int64_t finish_steps = 0;  // the last ones, which train with forward hi

  std::optional<double> finish_learning_rate;  // their own schedule's highest; none: the run's goes on

  // Learning rate of the step after `done` ones.
  double rate(std::int64_t done) const;
  // Whether the step after `done` ones belongs to them.
  bool finishing(std::int64_t done) const noexcept {
    return finish_steps > 0 && done >= schedule.steps - finish_steps;
  }

  // `train`: the resolved section. Throws Error(usage) naming the keys that contradict each other.
  static TrainSettings from(const nlohmann::json& train);
  WeightDecay decay() const;
};

}  // namespace tetrad::train

// What a training run will need, computed from shapes alone, before any weight is read: weights and optimizer
// state as the optimizer says, gradients as the sink stores them, activations as the checkpointing keeps
// them, and the largest temporaries of a step. An upper estimate of live bytes; the measured figures stand
// beside it in a run's record.
#pragma once

#include "model/config.h"
#include "train/trainer/settings.h"

#include <tetrad/torch/optimizer.h>

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace tetrad::train {

struct ForecastInput {
  std::int64_t rows = 0, width = 0;  // of one micro-batch
  at::ScalarType dtype = at::kBFloat16;
  bool cuda = false;
  bool decodes = false;     // the linear backend decodes weights into a workspace of its own
  bool eval_cache = false;  // the self test keeps dequantised weights
  enum class Export : std::uint8_t { none, dense, planes } exported = Export::none;
};

struct Forecast {
  std::int64_t elements = 0;
  std::int64_t weights = 0, state = 0;  // state: m, v, master
  std::int64_t gradients = 0;           // stored ones together
  std::int64_t waiting = 0;             // dense gradients that wait for further contributions
  std::int64_t activations = 0;         // kept between forward and backward
  std::int64_t head = 0;                // logits and what their gradient needs
  std::int64_t block = 0;               // temporaries of one block's backward
  std::int64_t update = 0;              // of the optimizer's step
  std::int64_t pinned = 0;              // m, v, master in pinned host memory; not in any other figure
  std::int64_t workspace = 0;           // cuBLAS, weights while they are decoded, state from host memory
  std::int64_t answers = 0;             // the self test's eval cache: between steps, beside what is loaded
  std::int64_t check = 0;               // the exported model, loaded beside the trained one
  std::int64_t loaded() const noexcept { return weights + state; }
  // The most that a step needs beside what is loaded.
  std::int64_t step() const noexcept;
  // The most that lives at once.
  std::int64_t peak() const noexcept;

  nlohmann::json json() const;
  std::string text(const std::string& optimizer) const;  // one line
};

// Throws Error naming the optimizer when it cannot forecast.
Forecast forecast(const model::ModelConfig& config, const Optimizer& optimizer,
                  const std::string& optimizer_id, const TrainSettings& settings, const ForecastInput& input);

}  // namespace tetrad::train

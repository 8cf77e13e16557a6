// The config's optimizer, and the linear backends that a training run reads its weights through: opened
// before weights are read, and shown each parameter while they are.
#pragma once

#include "cli/engine/plugins.h"
#include "cli/engine/session.h"
#include "cli/engine/two_forwards.h"
#include "train/trainer/optimizer_states.h"
#include "train/trainer/settings.h"

#include <tetrad/torch/linear.h>
#include <tetrad/torch/optimizer.h>

#include <memory>
#include <optional>
#include <string>

namespace tetrad::cli {

// What an optimizer is told of this run, whether it is configured or only asked for a forecast.
OptimizerSetup optimizer_setup(const RunMessage& run, at::Device device, std::uint64_t seed);

class OptimizerLoader final : public LoadListener {
 public:
  OptimizerLoader(const RunMessage& run, const train::TrainSettings& settings);

  void configured(const LinearSetup& setup) override;
  void loaded(Parameter& parameter) override { states_->prepare(parameter); }

  train::OptimizerStates& states() noexcept { return *states_; }
  OptimizerMemory memory() const { return states_->optimizer().memory(); }
  std::string description() const;  // id, version and what it computes with

  LinearBackend& backend(LinearBackend& named, bool cuda) override;
  // train.finish: whether the model is hi alone from now on. Without it, nothing happens.
  void finish(bool hi);
  // "hi+lo" or "hi", as the model is read now; "dense" for a backend that knows no planes.
  std::string forward() const;

 private:
  const RunMessage& run_;
  const train::TrainSettings& settings_;
  PluginObject<Optimizer> optimizer_;
  Capability capability_;
  std::unique_ptr<train::OptimizerStates> states_;
  PluginObject<LinearBackend> hi_;  // train.finish: the linear backend with forward hi
  std::optional<TwoForwards> forwards_;
};

}  // namespace tetrad::cli

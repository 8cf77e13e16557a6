// The optimizer plugin with the parameters it trains: prepares each as it is loaded, in the format that the
// optimizer keeps (one-dimensional tensors are handed over in fp32), and knows its state by parameter. Frozen
// parameters (by name) are left as they are loaded.
#pragma once

#include "train/trainer/settings.h"

#include <tetrad/torch/optimizer.h>

#include <string>
#include <unordered_map>
#include <vector>

namespace tetrad::train {

class OptimizerStates {
 public:
  // `optimizer` is configured; both outlive this.
  OptimizerStates(Optimizer& optimizer, std::string id, const TrainSettings& settings);

  // For each parameter of the model, once, before the linear backend sees it.
  void prepare(Parameter& parameter);
  // After the last one: patterns that fit no parameter are refused, as misspelt.
  void require_patterns_used() const;

  Optimizer& optimizer() noexcept { return optimizer_; }
  const std::string& id() const noexcept { return id_; }
  bool trains(const Parameter& parameter) const { return states_.contains(&parameter); }
  StateId state(const Parameter& parameter) const { return states_.at(&parameter); }
  StorageTable storage(const Parameter& parameter) const;
  std::unordered_map<const Parameter*, GradientFormat> gradient_formats() const;

 private:
  bool frozen(const std::string& name) const;

  Optimizer& optimizer_;
  std::string id_;
  WeightDecay decay_;
  std::vector<std::string> freeze_, names_;
  std::unordered_map<const Parameter*, StateId> states_;
};

}  // namespace tetrad::train

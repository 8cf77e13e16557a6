#include "train/trainer/optimizer_states.h"

#include "model/plugin_call.h"

#include <tetrad/base/error.h>

#include <algorithm>
#include <utility>

namespace tetrad::train {

OptimizerStates::OptimizerStates(Optimizer& optimizer, std::string id, const TrainSettings& settings)
    : optimizer_(optimizer), id_(std::move(id)), decay_(settings.decay()), freeze_(settings.freeze) {}

bool OptimizerStates::frozen(const std::string& name) const {
  return std::any_of(freeze_.begin(), freeze_.end(),
                     [&](const std::string& pattern) { return name_matches(pattern, name); });
}

void OptimizerStates::prepare(Parameter& parameter) {
  names_.push_back(parameter.name);
  if (frozen(parameter.name)) return;
  // A norm's updates are smaller than bf16's steps around 1, and it is 0.005 % of the elements.
  if (parameter.shape.size() == 1 && parameter.dense.defined() &&
      parameter.dense.scalar_type() != at::kFloat) {
    parameter.dense = parameter.dense.to(at::kFloat);
    parameter.format = Format::fp32;
    ++parameter.version;
  }
  StateId state = -1;
  model::check(optimizer_.prepare(parameter, decay_.of(parameter.name, parameter.shape.size()), state), id_,
               "prepare of " + parameter.name);
  states_.emplace(&parameter, state);
}

void OptimizerStates::require_patterns_used() const {
  std::vector<std::string> unused = decay_.unused(names_);
  for (const std::string& pattern : freeze_) {
    if (std::none_of(names_.begin(), names_.end(),
                     [&](const std::string& name) { return name_matches(pattern, name); }))
      unused.push_back(pattern);
  }
  if (!unused.empty())
    throw Error(ExitCode::usage, "[train] no parameter of the model fits the pattern '" + unused.front() +
                                     "' of train.no_decay or train.freeze; a name is, for instance, '" +
                                     names_.front() + "'");
  if (states_.empty()) throw Error(ExitCode::usage, "[train] train.freeze leaves no parameter to train");
}

StorageTable OptimizerStates::storage(const Parameter& parameter) const {
  StorageTable table;
  model::check(optimizer_.describe(states_.at(&parameter), table), id_, "describe of " + parameter.name);
  return table;
}

std::unordered_map<const Parameter*, GradientFormat> OptimizerStates::gradient_formats() const {
  std::unordered_map<const Parameter*, GradientFormat> formats;
  for (const auto& [parameter, state] : states_) formats.emplace(parameter, storage(*parameter).gradient);
  return formats;
}

}  // namespace tetrad::train

#include "train/schedule/schedule.h"

#include <fmt/format.h>
#include <fnmatch.h>
#include <tetrad/base/error.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace tetrad::train {

Decay parse_decay(std::string_view word) {
  if (word == "constant") return Decay::constant;
  if (word == "linear") return Decay::linear;
  if (word == "cosine") return Decay::cosine;
  throw Error(ExitCode::usage,
              fmt::format("[schedule] '{}' is no schedule; there are constant, linear and cosine", word));
}

void check(const ScheduleSettings& settings) {
  const auto refuse = [](const std::string& what) { throw Error(ExitCode::usage, "[schedule] " + what); };
  if (!std::isfinite(settings.learning_rate) || settings.learning_rate < 0)
    refuse(fmt::format("learning rate {} is not a number >= 0", settings.learning_rate));
  if (settings.steps < 1) refuse(fmt::format("steps {} is less than 1", settings.steps));
  if (settings.warmup_steps < 0 || settings.warmup_steps > settings.steps)
    refuse(fmt::format("warmup_steps {} is outside 0 to {}, the steps of the run", settings.warmup_steps,
                       settings.steps));
  if (!(settings.final_share >= 0 && settings.final_share <= 1))
    refuse(fmt::format("final_share {} is outside 0 to 1", settings.final_share));
}

double learning_rate(const ScheduleSettings& settings, std::int64_t step) {
  if (step < settings.warmup_steps) {
    return settings.learning_rate * static_cast<double>(step + 1) /
           static_cast<double>(settings.warmup_steps);
  }
  const std::int64_t decaying = settings.steps - settings.warmup_steps;
  const double x =
      decaying <= 0
          ? 1
          : std::clamp(static_cast<double>(step - settings.warmup_steps) / static_cast<double>(decaying), 0.0,
                       1.0);
  double share = 1;
  if (settings.decay == Decay::linear) share = 1 - x;
  if (settings.decay == Decay::cosine) share = (1 + std::cos(std::numbers::pi * x)) / 2;
  if (settings.decay != Decay::constant) share = settings.final_share + (1 - settings.final_share) * share;
  return settings.learning_rate * share;
}

bool name_matches(std::string_view pattern, std::string_view name) {
  return ::fnmatch(std::string(pattern).c_str(), std::string(name).c_str(), 0) == 0;
}

WeightDecay::WeightDecay(double weight_decay, std::vector<DecayRule> rules)
    : weight_decay_(weight_decay), rules_(std::move(rules)) {
  const auto check_value = [](double value, std::string_view of) {
    if (std::isfinite(value) && value >= 0) return;
    throw Error(ExitCode::usage,
                fmt::format("[schedule] weight decay {} of {} is not a number >= 0", value, of));
  };
  check_value(weight_decay_, "the parameters");
  for (const DecayRule& rule : rules_) {
    if (rule.pattern.empty())
      throw Error(ExitCode::usage,
                  "[schedule] a weight decay rule has an empty pattern; '*' matches every name");
    check_value(rule.weight_decay, "'" + rule.pattern + "'");
  }
}

double WeightDecay::of(std::string_view name, std::size_t dimensions) const {
  for (const DecayRule& rule : rules_)
    if (name_matches(rule.pattern, name)) return rule.weight_decay;
  return dimensions >= 2 ? weight_decay_ : 0;
}

std::vector<std::string> WeightDecay::unused(const std::vector<std::string>& names) const {
  std::vector<std::string> result;
  for (const DecayRule& rule : rules_) {
    const bool used = std::any_of(names.begin(), names.end(),
                                  [&](const std::string& name) { return name_matches(rule.pattern, name); });
    if (!used) result.push_back(rule.pattern);
  }
  return result;
}

}  // namespace tetrad::train

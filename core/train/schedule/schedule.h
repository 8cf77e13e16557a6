// The learning rate of each step, and which parameters decay. Pure functions of the settings and the step
// number, so nothing of a schedule is stored in a checkpoint but its settings.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tetrad::train {

enum class Decay { constant, linear, cosine };
// "constant", "linear" or "cosine". Throws Error(usage) for another word.
Decay parse_decay(std::string_view word);

struct ScheduleSettings {
  Decay decay = Decay::cosine;
  double learning_rate = 1e-4;    // the highest; >= 0
  std::int64_t steps = 1;         // of the whole run; >= 1
  std::int64_t warmup_steps = 0;  // 0 .. steps
  double final_share = 0;         // learning_rate * final_share is where linear and cosine end; 0 .. 1
};

// Throws Error(usage) naming the setting that is out of range.
void check(const ScheduleSettings& settings);

// Learning rate of the update that ends step `step`, counted from 0:
//   step < warmup_steps: learning_rate * (step + 1) / warmup_steps
//   after that, with x = (step - warmup_steps) / (steps - warmup_steps), in [0, 1):
//     constant 1, linear 1 - x, cosine (1 + cos(pi x)) / 2, each between 1 and final_share.
// These are the schedules of transformers' get_*_schedule_with_warmup, except that the first step of a
// warm-up already moves. Steps past the end keep the last value (x = 1).
double learning_rate(const ScheduleSettings& settings, std::int64_t step);

struct DecayRule {
  std::string pattern;  // of parameter names, as in a shell: * any characters (dots too), ?, [abc]
  double weight_decay = 0;
};

// Weight decay by parameter name. The first rule whose pattern matches holds; where none does, parameters of
// two or more dimensions get `weight_decay` and one-dimensional ones (norms, biases) 0, as is usual.
class WeightDecay {
 public:
  // Throws Error(usage) for a decay that is negative or not finite and for an empty pattern.
  WeightDecay(double weight_decay, std::vector<DecayRule> rules);

  double of(std::string_view name, std::size_t dimensions) const;
  // Patterns that match none of these names: most likely misspelt, so the trainer refuses them.
  std::vector<std::string> unused(const std::vector<std::string>& names) const;

 private:
  double weight_decay_;
  std::vector<DecayRule> rules_;
};

// Whether a parameter's name fits a pattern as DecayRule describes it.
bool name_matches(std::string_view pattern, std::string_view name);

}  // namespace tetrad::train

#include "train/trainer/settings.h"

#include <tetrad/base/error.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <utility>

namespace tetrad::train {
namespace {

Clip parse_clip(const std::string& word) {
  if (word == "none") return Clip::none;
  if (word == "previous_norm") return Clip::previous_norm;
  if (word == "update_rms") return Clip::update_rms;
  return Clip::global_norm;
}

}  // namespace

TrainSettings TrainSettings::from(const nlohmann::json& train) {
  TrainSettings s;
  s.schedule.decay = parse_decay(train.at("schedule").get<std::string>());
  s.schedule.learning_rate = train.at("learning_rate").get<double>();
  s.schedule.steps = train.at("steps").get<std::int64_t>();
  s.schedule.warmup_steps = train.at("warmup_steps").get<std::int64_t>();
  s.schedule.final_share = train.at("final_share").get<double>();
  check(s.schedule);
  s.weight_decay = train.at("weight_decay").get<double>();
  s.no_decay = train.at("no_decay").get<std::vector<std::string>>();
  s.freeze = train.at("freeze").get<std::vector<std::string>>();
  s.micro_batches = train.at("micro_batches").get<std::int64_t>();
  s.accumulate_bf16 = train.at("accumulate_in").get<std::string>() == "bfloat16";
  s.breadth_first = train.at("accumulate_in").get<std::string>() == "blocks";
  s.gradients = train.at("gradients").get<std::string>() == "immediate" ? GradientMode::immediate
                                                                        : GradientMode::two_phase;
  s.clip = parse_clip(train.at("clip").get<std::string>());
  s.max_norm = train.at("max_norm").get<double>();
  s.max_skipped = train.at("max_skipped").get<std::int64_t>();
  s.checkpointing = parse_checkpointing(train.at("checkpointing").get<std::string>());
  s.head_budget_bytes = train.at("head_budget_mib").get<std::int64_t>() << 20;
  s.seed = static_cast<std::uint64_t>(train.at("seed").get<std::int64_t>());
  s.finish_steps = train.at("finish").at("steps").get<std::int64_t>();
  if (const nlohmann::json& rate = train.at("finish").at("learning_rate"); rate.is_number())
    s.finish_learning_rate = rate.get<double>();
  if (s.finish_learning_rate && s.finish_steps == 0)
    throw Error(
        ExitCode::usage,
        "[train] train.finish.learning_rate is set, but train.finish.steps is 0: set how many steps the "
        "finish has, or leave its learning rate out");
  if (s.finish_steps > s.schedule.steps)
    throw Error(ExitCode::usage, "[train] train.finish.steps is " + std::to_string(s.finish_steps) +
                                     ", more than the " + std::to_string(s.schedule.steps) +
                                     " steps of the whole run (train.steps)");
  if (s.gradients == GradientMode::immediate && s.clip == Clip::global_norm)
    throw Error(
        ExitCode::usage,
        "[train] train.gradients immediate updates each parameter before the norm over all of them is "
        "known: set train.clip to update_rms, previous_norm or none, or train.gradients to two_phase");
  return s;
}

double TrainSettings::rate(std::int64_t done) const {
  if (!finish_learning_rate || !finishing(done)) return learning_rate(schedule, done);
  ScheduleSettings own = schedule;
  own.learning_rate = *finish_learning_rate;
  own.steps = finish_steps;
  own.warmup_steps = std::min<std::int64_t>(schedule.warmup_steps, finish_steps / 8);
  return learning_rate(own, done - (schedule.steps - finish_steps));
}

WeightDecay TrainSettings::decay() const {
  std::vector<DecayRule> rules;
  for (const std::string& pattern : no_decay) rules.push_back({pattern, 0.0});
  return {weight_decay, std::move(rules)};
}

}  // namespace tetrad::train

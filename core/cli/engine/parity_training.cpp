// The training arm of a comparison: same data, same seed, N steps; what each step's loss was, and what the
// first step that moved anything did to every parameter.
#include "cli/engine/optimizer_loader.h"
#include "cli/engine/parity_arm.h"
#include "cli/engine/process_clock.h"
#include "cli/engine/soft_stage.h"
#include "cli/engine/training_data.h"
#include "cli/engine/training_forecast.h"
#include "parity/arm/update_recorder.h"
#include "parity/files.h"
#include "train/trainer/fresh_planes.h"
#include "train/trainer/trainer.h"

#include <ATen/Context.h>
#include <tetrad/base/error.h>

#include <chrono>
#include <cstdio>
#include <optional>

namespace tetrad::cli {

nlohmann::json run_training_arm(Control& control, const std::filesystem::path& folder,
                                const parity::Settings& settings) {
  const nlohmann::json& config = control.run().config.at("train");
  forecast_training(control.run());  // refuses what does not fit
  MemoryWatch memory;
  const train::TrainSettings train = train::TrainSettings::from(config);
  OptimizerLoader optimizer(control.run(), train);
  Session session(control, memory, &optimizer);
  const double load_seconds = seconds_since_engine_start();
  TrainingData data(config, session.context().max_tokens(), session.turn_format(), session.tokenizer());
  if (session.model().setup().deterministic)
    at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/false);
  optimizer.states().require_patterns_used();
  train::Trainer trainer(session.model(), optimizer.states(), train);

  const auto start = std::chrono::steady_clock::now();
  nlohmann::json losses = nlohmann::json::array(), rates = nlohmann::json::array(),
                 norms = nlohmann::json::array(), skipped = nlohmann::json::array();
  std::optional<parity::UpdateRecorder> updates;
  nlohmann::json update_step = nullptr;
  for (std::int64_t step = 0; step < settings.train_steps; ++step) {
    if (control.interrupt().load()) throw Error("[parity] interrupted");
    answer_soft_stage(session);
    if (!updates && train.rate(step) > 0.0)
      updates.emplace(
          session.model().parameters(),
          [&](const Parameter& parameter) { return optimizer.states().trains(parameter); },
          folder / parity::updates_file);
    if (train.finishing(step) && step > 0 && !train.finishing(step - 1))
      (void)train::encode_anew(session.model().trainable(), optimizer.states());
    optimizer.finish(train.finishing(step));
    const train::StepReport report = trainer.step(data.step_batches(train.micro_batches), /*measure=*/false);
    losses.push_back(report.loss);
    rates.push_back(report.lr);
    norms.push_back(report.norm);
    if (report.skipped) skipped.push_back(report.step);
    if (updates && update_step.is_null() && !report.skipped) {
      updates->write(arm_metadata(session));
      update_step = report.step;
    }
    std::fprintf(stderr, "[parity] training step %lld/%lld loss %.6f\n", static_cast<long long>(report.step),
                 static_cast<long long>(settings.train_steps), report.loss);
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  nlohmann::json arm = arm_identity(session, load_seconds);
  arm["training"] = {{"losses", losses},
                     {"steps", settings.train_steps},
                     {"lrs", rates},
                     {"norms", norms},
                     {"skipped", skipped},
                     {"update_step", update_step},
                     {"updates_file", nullptr},
                     {"trained", nlohmann::json::array()},
                     {"optimizer", optimizer.description()},
                     {"seconds", seconds}};
  if (!update_step.is_null()) {
    arm["training"]["updates_file"] = parity::updates_file;
    arm["training"]["trained"] = updates->names();
  }
  return arm;
}

}  // namespace tetrad::cli

// One run of `host train`: model, optimizer, data and files put together around train::Trainer, with
// everything that a person sees of it.
#pragma once

#include "cli/engine/optimizer_loader.h"
#include "cli/engine/product_rate.h"
#include "cli/engine/self_test.h"
#include "cli/engine/session.h"
#include "cli/engine/step_log.h"
#include "cli/engine/training_data.h"
#include "train/checkpoint/store.h"
#include "train/metrics/metrics.h"
#include "train/trainer/memory_phases.h"
#include "train/trainer/parameter_table.h"
#include "train/trainer/proof.h"
#include "train/trainer/trainer.h"

#include <tetrad/torch/optimizer.h>

#include <memory>
#include <optional>
#include <string>

namespace tetrad::cli {

class TrainingRun {
 public:
  // `forecast`: what forecast_training() said.
  TrainingRun(Control& control, MemoryWatch& memory, nlohmann::json forecast);
  // Returns the exit code.
  int run();

 private:
  // Why training ended before its last step.
  enum class End { steps, interrupted, no_improvement };

  void describe();
  End train_steps();
  void finish(End end);
  void one_step(bool measure);
  // Ends the run, its state saved, where the next step would pass the guard's limit.
  void refuse_step_beyond_limit();
  void log(const train::StepReport& report, bool shown);
  void phase(const char* name);
  // Mean loss and perplexity on train.eval_data; null without one.
  nlohmann::json evaluate(const std::string& when);
  // The same for each reading of the weights that train.finish knows, the present one last.
  void evaluate_readings(const std::string& when);
  // Goes over to forward hi where the next step is one of train.finish.
  void begin_finish();
  void self_test(const std::string& when);
  // Answers the guard's soft stage, where it asked: only between two steps, evaluations' batches or answers.
  void give_back_if_asked();
  void require_moved();
  // Takes over the latest checkpoint, where the config asks for it and there is one.
  void resume();
  void save();
  void open_metrics();
  // Writes train.export_dir and loads it again. Returns what is worse in it than in the trained model.
  std::vector<std::string> export_model();
  // What trained model and export are compared on: train.eval_data, or else data that was trained on.
  std::vector<train::Batch> check_batches();
  // Throws Error(usage) when the model that this run ends with cannot be exported as asked.
  void require_exportable() const;
  // Forecast and measured peak side by side, and whether a whole run with these settings fits.
  nlohmann::json memory_verdict() const;
  train::CategoryBytes categories(const DeviceMemory& device) const;

  Control& control_;
  MemoryWatch& memory_;
  nlohmann::json forecast_;
  train::TrainSettings settings_;
  OptimizerLoader optimizer_;
  train::MemoryPhases phases_;
  Session session_;
  TrainingData data_;
  train::ParameterTable table_;
  train::Trainer trainer_;
  train::ChangeWatch changes_;
  SelfTest self_test_;
  std::optional<train::CheckpointStore> store_;
  std::optional<train::MetricsLog> metrics_;
  train::Identity identity_;
  std::int64_t saved_step_ = -1;
  nlohmann::json evaluations_ = nlohmann::json::array(), self_tests_ = nlohmann::json::object();
  nlohmann::json first_proof_, last_proof_, losses_ = nlohmann::json::array();
  bool proved_ = false;
  // What a step needs beside what is there when it begins: foreseen, and, on the CPU, the most that one took.
  std::int64_t step_bytes_ = 0, step_begins_at_ = 0, step_took_ = 0;
  double step_seconds_ = 0.0;  // of this run's steps together
  ProductRate roof_;
  ProgressBar progress_;
  double best_loss_ = 0.0, first_loss_ = 0.0, last_loss_ = 0.0;
  std::int64_t evaluations_without_gain_ = 0;
};

}  // namespace tetrad::cli

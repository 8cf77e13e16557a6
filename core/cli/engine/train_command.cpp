// `train`: full-parameter training of the model that the config names; with --dry-run only what it will need.
#include "cli/engine/commands.h"
#include "cli/engine/run_record.h"
#include "cli/engine/training_forecast.h"
#include "cli/engine/training_run.h"

#include <utility>

namespace tetrad::cli {

int run_train(Control& control) {
  nlohmann::json forecast = forecast_training(control.run());
  if (control.run().args.value("dry_run", false)) {
    RunRecord record(control.run());
    record.set("forecast", forecast);
    record.finish();
    return 0;
  }
  MemoryWatch memory;
  TrainingRun run(control, memory, std::move(forecast));
  return run.run();
}

}  // namespace tetrad::cli

// `host train --dry-run`: the memory that a training run will need, with the chosen optimizer and with each
// of the others, from config.json alone; nothing is loaded.
#pragma once

#include "cli/protocol/messages.h"

#include <nlohmann/json.hpp>

namespace tetrad::cli {

// Shows the forecasts on stderr. Throws Error(runtime) when the chosen optimizer's passes the run's limit or
// the memory there is.
nlohmann::json forecast_training(const RunMessage& run);

}  // namespace tetrad::cli

// One arm of a comparison, as `host parity` asks for it: what goes into arm.json and the tensors beside it
// (core/parity/files.h).
#pragma once

#include "cli/engine/control.h"
#include "cli/engine/session.h"
#include "parity/plan/settings.h"

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

namespace tetrad::cli {

// What every arm says of itself: identity, tokenizer, weights, numerics contracts, memory, load time.
nlohmann::json arm_identity(Session& session, double load_seconds);

// Metadata of an arm's tensor files.
std::map<std::string, std::string> arm_metadata(Session& session);

// An arm of a training comparison: the first settings.train_steps steps of the config's training run. Writes
// updates.safetensors into `folder` and returns arm.json without its envelope. Throws Error.
nlohmann::json run_training_arm(Control& control, const std::filesystem::path& folder,
                                const parity::Settings& settings);

}  // namespace tetrad::cli

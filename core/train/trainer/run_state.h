// A training run's whole state as a checkpoint's content, and back: every parameter as it is stored, the
// optimizer's tensors, and the numbers of trainer and data loader. Contract: save, restore and going on gives
// the bits of going on without; a restore that fails has changed nothing that a later save would write.
#pragma once

#include "train/checkpoint/store.h"
#include "train/trainer/optimizer_states.h"
#include "train/trainer/trainer.h"

#include <deque>
#include <nlohmann/json.hpp>

namespace tetrad::train {

struct RunState {
  Trainer::Progress progress;
  nlohmann::json cursor;    // of the data loader
  nlohmann::json settings;  // what the run was made with, for people
};

// What a checkpoint of this run must belong to: the model's shape, the optimizer and its format, the data.
Identity run_identity(const std::deque<Parameter>& parameters, OptimizerStates& states,
                      const std::string& data_identity);

// References the parameters and the optimizer's tensors: to be saved before anything changes.
CheckpointContent checkpoint_content(const std::deque<Parameter>& parameters, OptimizerStates& states,
                                     const Identity& identity, const RunState& state);

// Verifies the checkpoint whole, then takes it over; versions are bumped. Throws Error for another identity
// or a damaged file.
RunState restore_run(const Checkpoint& checkpoint, std::deque<Parameter>& parameters, OptimizerStates& states,
                     const Identity& identity);

}  // namespace tetrad::train

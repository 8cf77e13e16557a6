// Weights from a checkpoint of any layout into Parameters, prepared by the linear backend one by one: a
// tensor is copied out of the mapped file (dense ones cast to the run's dtype, NVFP4 planes as they are), its
// file pages are given back, and the backend may pack it at once. The peak while loading is therefore what
// the model needs at the end plus one tensor, never a second copy of the weights.
#pragma once

#include "checkpoint/checkpoint.h"
#include "model/config.h"

#include <tetrad/torch/linear.h>
#include <tetrad/torch/parameter.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <unordered_map>

namespace tetrad::model {

struct LoadedWeights {
  std::deque<Parameter> parameters;                    // stable addresses: backends keep references
  std::unordered_map<std::string, WeightId> prepared;  // every matrix, by name
};

// Progress: bytes of the files done, and in all.
using LoadProgress = std::function<void(std::uint64_t done, std::uint64_t total)>;

// Sees each parameter before the backend does: an optimizer converts it to the format it keeps.
using OnParameter = std::function<void(Parameter&)>;

// Checks names and shapes first (all complaints in one Error), then loads. `backend` is configured with
// `setup`. In a quantised checkpoint the dense matrices stay dense (Parameter::keep_dense): which weights are
// NVFP4 is then the checkpoint's statement. Throws Error naming file and tensor; a non-finite weight is
// refused by the backend that packs it, a non-finite block scale here.
LoadedWeights load_weights(const checkpoint::Checkpoint& files, const ModelConfig& config,
                           const LinearSetup& setup, LinearBackend& backend, const std::string& backend_id,
                           const LoadProgress& progress, const OnParameter& on_parameter = {});

}  // namespace tetrad::model

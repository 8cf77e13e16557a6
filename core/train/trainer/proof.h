// The proof that every tensor trains, as stored with a run: at the first step with a learning rate above 0,
// and at the end, what moved each parameter; and a fingerprint of each parameter's stored bits, which tells
// at the end whether the run as a whole changed it.
#pragma once

#include "train/trainer/trainer.h"

#include <cstdint>
#include <deque>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace tetrad::train {

nlohmann::json proofs_json(const std::vector<ParameterProof>& proofs);

// Changes, for all practical purposes, whenever a stored bit changes. Computed where the parameter lies.
std::uint64_t fingerprint(const Parameter& parameter);

class ChangeWatch {
 public:
  ChangeWatch(const std::deque<Parameter>& parameters, const OptimizerStates& states);
  // Trained parameters whose bits are what they were when this object was made.
  std::vector<std::string> unchanged() const;

 private:
  struct Seen {
    const Parameter* parameter = nullptr;
    std::uint64_t fingerprint = 0;
  };
  std::vector<Seen> seen_;
};

}  // namespace tetrad::train

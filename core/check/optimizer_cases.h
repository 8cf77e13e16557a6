// The cases of kind "optimizer": claims, life cycle, storage tables against what is stored, direction and
// size of updates, a step without a learning rate, stop words and non-finite gradients, saved state,
// determinism, bad calls.
#pragma once

#include "check/case.h"
#include "check/target.h"

#include <vector>

namespace tetrad::check {

std::vector<Case> optimizer_cases(const Target& target);

}  // namespace tetrad::check

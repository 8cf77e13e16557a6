// The cases of a plugin: those that every plugin has (it opens, makes its objects, ends them), then those of
// its kinds. A kind that this host has no cases for is one failed case that says so.
#pragma once

#include "check/case.h"
#include "check/target.h"

#include <vector>

namespace tetrad::check {

std::vector<Case> cases_for(const Target& target);

}  // namespace tetrad::check

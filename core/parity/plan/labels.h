// How arms are named: "path=training feed=chunk:64" for people, "00-training-chunk-64" for their folders.
// Contract: labels of one plan differ; slugs hold letters, digits, '.', '_' and '-' alone.
#pragma once

#include "parity/plan/sweep.h"

#include <cstddef>
#include <string>
#include <vector>

namespace tetrad::parity {

// What names one arm: its values, and the config file where there are several ("" with one).
struct Named {
  std::string config_file;
  Combination combination;
};

// One label for each arm: the name that the config gives, else its values under the shortest unambiguous
// keys; equal ones are numbered.
std::vector<std::string> make_labels(const std::vector<Named>& arms);

// Folder name of arm `index`, from its label's values.
std::string make_slug(std::size_t index, const std::string& label);

}  // namespace tetrad::parity

// A sweep: which values of which config keys the arms of a comparison take. Read from `parity.sweep` of a
// composed config (before the arms exist as configs of their own) and from --sweep arguments. Every key is
// checked against the core schema here, with the place where it stands; whether the values are good is told
// by resolving each arm.
#pragma once

#include "config/diagnostics.h"
#include "config/tree.h"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tetrad::parity {

// A config key and its value in one arm.
struct Assignment {
  std::string key;  // dotted
  nlohmann::json value;

  // As an argument of --set, typed by the schema to the same value.
  std::string set_argument() const;
};

struct Axis {
  std::string key;
  std::vector<nlohmann::json> values;  // at least one
};

struct Combination {
  std::string label;  // "" unless the config names the arm
  std::vector<Assignment> values;
};

struct Sweep {
  std::vector<Axis> matrix;
  std::vector<Axis> zip;  // of equal lengths
  std::vector<Combination> include;
  std::vector<std::vector<Assignment>> exclude;

  bool empty() const noexcept { return matrix.empty() && zip.empty() && include.empty(); }
};

// `node`: the value of parity.sweep in a composed, not yet validated, tree; null where there is none. What is
// wrong goes into `diagnostics`.
Sweep read_sweep(const config::Node* node, config::Diagnostics& diagnostics);

// Adds "key=v1,v2,..." or "key=[v1, v2]" (YAML) to the matrix; replaces the key's values where it is there
// already. Throws Error(usage).
void add_sweep_argument(Sweep& sweep, std::string_view argument);

// Combinations of matrix and zip, plus includes, before anything is excluded. Saturates.
std::uint64_t count_combinations(const Sweep& sweep);

// The arms, matrix and zip first (the last axis varies fastest), includes after. One arm without values for
// an empty sweep. Precondition: count_combinations() is small enough to be held.
std::vector<Combination> expand(const Sweep& sweep);

}  // namespace tetrad::parity

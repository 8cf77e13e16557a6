// The plan of a comparison, plan.json of its result folder: the arms with their resolved configs, which of
// them is the reference, what they differ in, and all that is needed to resolve them again for a resume.
// Contract: read_plan() takes nothing on trust; a file that is cut short, of another version or contradictory
// is Error(usage) naming it, and every folder in it lies below arms/.
#pragma once

#include "parity/plan/differ.h"
#include "parity/plan/sweep.h"

#include <nlohmann/json.hpp>

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace tetrad::parity {

struct Arm {
  std::size_t index = 0;
  std::string label;
  std::string folder;                     // relative to the result folder: "arms/00-training"
  std::vector<std::string> config_files;  // absolute
  Combination combination;                // its values, as --set arguments on top of Plan::sets
  std::string config_hash;                // "" with an error
  nlohmann::json config;                  // resolved, without the sweep; null with an error
  // The arm that it is compared with, where not the reference; its own index for a second reference.
  std::optional<std::size_t> against;
  std::vector<Difference> differs;   // from the arm that it is compared with
  std::optional<std::string> error;  // why it cannot be run
  int error_code = 0;                // the exit code that belongs to it

  bool is_file() const;  // its logits come from a file instead of a run
};

struct Plan {
  std::string name;  // of the result folder, from the config file
  std::string created_utc;
  nlohmann::json settings;  // the reference arm's parity section
  std::vector<std::string> swept;
  bool several_configs = false;
  std::size_t reference = 0;
  std::vector<Arm> arms;
  // Of the command that made it.
  std::vector<std::string> sets, plugin_paths;
  std::string working_directory;
};

// Index of the arm that `wanted`, the value of `key` (parity.reference, parity.against), names: a label, else
// a number; the first for null. Throws Error(usage) listing the labels.
std::size_t find_arm(const std::vector<Arm>& arms, const nlohmann::json& wanted,
                     const char* key = "parity.reference");

// Fills Arm::against and Arm::differs of all arms and Plan::settings. Throws Error(usage) for an arm that is
// to be compared with one that cannot be run.
void compare_configs(Plan& plan);

nlohmann::json to_json(const Plan& plan);
Plan read_plan(const std::filesystem::path& result_folder);

}  // namespace tetrad::parity

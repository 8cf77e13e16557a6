// From the command line of `host parity` to a plan: which configs, swept how, and every arm resolved before
// any runs. Contract: what is wrong with a config, of any arm, is found here and thrown together; a plugin
// that is missing or refused costs its arm alone, which stays in the plan with its error, unless that is the
// reference. No more arms are made than are allowed.
#pragma once

#include "cli/launch/prepare.h"
#include "parity/plan/plan.h"

#include <cstdint>
#include <string>
#include <vector>

namespace tetrad::cli {

inline constexpr std::uint64_t most_arms_unasked = 100;
inline constexpr std::uint64_t most_arms = 100'000;

struct PlanRequest {
  std::vector<std::string> configs;
  bool one_config = false;  // later files override earlier ones, as in `host --config A --config B`
  std::vector<std::string> sets, plugin_paths;
  std::vector<std::string> sweeps;  // --sweep
  bool many = false;                // more than most_arms_unasked are wanted
};

// Throws ConfigError or Error(usage), or Error(plugin_refused) where the reference arm cannot be run.
// Warnings go to stderr, each once.
parity::Plan make_plan(const PlanRequest& request);

// An arm, resolved for its run. Throws Error(usage) when its config is no longer the plan's.
Prepared prepare_arm(const parity::Plan& plan, const parity::Arm& arm);

// run.dir of the plan's arms; "" for null.
std::string records_folder(const parity::Plan& plan);

}  // namespace tetrad::cli

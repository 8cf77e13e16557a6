// One arm of a plan in an engine process of its own, under the guard; or taken from a file of logits.
// Contract: when run_arm() returns and the arm was not interrupted, the arm's folder holds an arm.json that
// says "ok" or "failed" with the reason; an interrupted arm leaves none.
#pragma once

#include "parity/plan/plan.h"

#include <filesystem>
#include <string>

namespace tetrad::cli {

struct ArmEnd {
  bool ok = false;
  std::string error;  // one or more lines
  int exit_code = 0;
  int signal = 0;  // that ended us: the arm is to be run again
};

// `engine`: the program; "" finds it.
ArmEnd run_arm(const parity::Plan& plan, const parity::Arm& arm, const std::filesystem::path& result_folder,
               const std::string& engine);

// What an earlier command left of this arm: true when it is done and belongs to this plan and to the script
// that the reference arm made.
bool is_done(const parity::Plan& plan, const parity::Arm& arm, const std::filesystem::path& result_folder);

}  // namespace tetrad::cli

// The arms of a plan one after another, the reference first, with a line on stderr for each. Contract: an arm
// that fails is a row of the result, not the end, except the reference, without which there is nothing to
// compare with; arms that an earlier command finished are kept; a signal ends the running arm and then us.
#pragma once

#include "parity/plan/plan.h"

#include <filesystem>
#include <string>

namespace tetrad::cli {

struct RunOfArms {
  std::size_t ok = 0, failed = 0, kept = 0;
  bool reference_failed = false;
  int signal = 0;  // 0: all arms have had their turn
};

RunOfArms run_arms(const parity::Plan& plan, const std::filesystem::path& result_folder,
                   const std::string& engine);

}  // namespace tetrad::cli

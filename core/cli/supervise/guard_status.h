// What a running guard tells of itself (`host guard status`), as JSON. Sizes are bytes, unknown ones null.
#pragma once

#include "guard/group.h"
#include "guard/guard.h"
#include "guard/keeper.h"
#include "guard/self.h"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>

namespace tetrad::cli {

struct GuardedRun {
  pid_t child;
  const std::string& command;
  std::int64_t started_ns;
  std::size_t processes;
  const guard::Standing& standing;
  const guard::Group& group;
  const guard::Keeper& keeper;
};

nlohmann::json guard_status(const guard::Guard& guard, const GuardedRun& run);

}  // namespace tetrad::cli

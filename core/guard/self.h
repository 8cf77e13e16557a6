// The guard's own standing: its pages locked, so that it runs when memory is short; a higher priority; last
// in the kernel's choice of whom to end. Each where it is permitted; what was refused is said. Call it after
// the guarded program was started, because a child inherits priority and score.
#pragma once

#include <string>
#include <vector>

namespace tetrad::guard {

struct Standing {
  bool locked = false;               // every page that it touches stays in memory
  bool prioritised = false;          // runs before ordinary processes
  bool spared = false;               // oom_score_adj lowered
  std::vector<std::string> refused;  // one line each
};

Standing protect_self();

}  // namespace tetrad::guard

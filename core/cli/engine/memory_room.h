// What this process may still take before the guard's limit is passed: asked before a step or a prefill whose
// need can be foreseen, so that it is refused with both numbers instead of being begun and ended by the
// guard.
#pragma once

#include <cstdint>
#include <string>

namespace tetrad::cli {

struct MemoryRoom {
  std::int64_t used_bytes = 0;
  std::int64_t limit_bytes = 0;
  const char* limit = "";  // what it is, for people

  bool holds(std::int64_t more) const noexcept { return used_bytes + more <= limit_bytes; }
  // "needs about 3.1 GiB beside the 2 GiB in use, and the guard's limit is 4 GiB".
  std::string shortage(std::int64_t more) const;
};

}  // namespace tetrad::cli

#include "cli/host/build_commit.h"

namespace tetrad::cli {

const char* build_commit() noexcept {
  return
#include "commit.inc"
      ;
}

}  // namespace tetrad::cli

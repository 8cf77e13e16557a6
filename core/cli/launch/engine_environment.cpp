#include "cli/launch/engine_environment.h"

#include <cstdlib>

namespace tetrad::cli {

void let_threads_wait() {
  ::setenv("OMP_WAIT_POLICY", "passive", /*overwrite=*/0);
}

void prepare_for_training() {
  let_threads_wait();
  ::setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64", /*overwrite=*/0);
}

}  // namespace tetrad::cli

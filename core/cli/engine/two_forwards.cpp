#include "cli/engine/two_forwards.h"

namespace tetrad::cli {

void TwoForwards::use_second(bool second) {
  LinearBackend* const wanted = second ? &second_ : &first_;
  if (wanted == now_) return;
  now_->clear_eval_cache();
  now_ = wanted;
  ++switches_;
}

Status TwoForwards::configure(const LinearSetup& setup) noexcept {
  Status status = first_.configure(setup);
  if (!status.ok()) return status;
  return second_.configure(setup);
}

Status TwoForwards::prepare(Parameter& parameter, WeightId& weight) noexcept {
  WeightId other = -1;
  Status status = first_.prepare(parameter, weight);
  if (!status.ok()) return status;
  status = second_.prepare(parameter, other);
  if (status.ok() && other != weight)
    return Status::unsupported("the plugin numbers the same weights differently in two objects");
  return status;
}

LinearMemory TwoForwards::memory() const noexcept {
  LinearMemory sum = first_.memory();
  const LinearMemory more = second_.memory();
  sum.weight_bytes += more.weight_bytes;
  sum.eval_cache_bytes += more.eval_cache_bytes;
  sum.workspace_bytes += more.workspace_bytes;
  return sum;
}

}  // namespace tetrad::cli

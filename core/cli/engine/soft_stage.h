// The guard's soft stage on the engine's side: the listening thread notes a request, the thread that runs the
// model answers it between two steps, where nothing that is given back is in use: the eval weight cache,
// which is made again where it is needed, and memory that was freed and that an allocator has kept. Who can
// do more (a training run saves what would be lost, and recomputes more) says so.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace tetrad::cli {

class Session;

class SoftStage {
 public:
  void request(std::uint64_t epoch) noexcept { epoch_.store(epoch); }
  // The open request, which is then closed; nothing when there is none. Cheap: one atomic exchange.
  std::optional<std::uint64_t> take() noexcept {
    const std::uint64_t epoch = epoch_.exchange(0);
    return epoch == 0 ? std::nullopt : std::optional(epoch);
  }

 private:
  std::atomic<std::uint64_t> epoch_{0};
};

// The one of this process.
SoftStage& soft_stage() noexcept;

// Answers an open request with the phase "soft_done"; does nothing without one. `more`: what else is done,
// and told, before freed memory goes back to the system. What it throws ends the run.
void answer_soft_stage(Session& session, const std::function<std::vector<std::string>()>& more = {});

}  // namespace tetrad::cli

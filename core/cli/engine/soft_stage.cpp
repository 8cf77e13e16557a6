#include "cli/engine/soft_stage.h"

#include "cli/engine/host_heap.h"
#include "cli/engine/session.h"

#include <c10/core/CachingDeviceAllocator.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <utility>

namespace tetrad::cli {
namespace {

// Bytes of host and device memory that this process keeps from others.
std::int64_t held(Session& session) {
  return static_cast<std::int64_t>(session.memory().sample()) + session.device_memory().reserved_bytes;
}

}  // namespace

SoftStage& soft_stage() noexcept {
  static SoftStage stage;
  return stage;
}

void answer_soft_stage(Session& session, const std::function<std::vector<std::string>()>& more) {
  const auto epoch = soft_stage().take();
  if (!epoch) return;
  const std::int64_t before = held(session);
  std::vector<std::string> done;
  const std::int64_t cache = session.clear_eval_cache();
  if (cache > 0) done.emplace_back("eval weight cache dropped");
  if (more) {
    for (std::string& what : more()) done.push_back(std::move(what));
  }
  if (session.shrink_kv() > 0) done.emplace_back("unused KV slots given back");
  give_back_freed();
  if (session.device().device.is_cuda()) c10::getDeviceAllocator(c10::kCUDA)->emptyCache();
  // What went back to the system; a cache that lay in memory which stays in use elsewhere counts as freed
  // too.
  const std::int64_t freed = std::max({before - held(session), cache, std::int64_t{0}});
  session.control().phase(
      "soft_done", session.memory().sample(), {},
      {{"epoch", *epoch}, {"freed_bytes", static_cast<std::uint64_t>(freed)}, {"done", done}});
}

}  // namespace tetrad::cli

#include "cli/engine/soft_stage.h"

#include "cli/engine/session.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace tetrad::cli {

SoftStage& soft_stage() noexcept {
  static SoftStage stage;
  return stage;
}

void answer_soft_stage(Session& session) {
  const auto epoch = soft_stage().take();
  if (!epoch) return;
  const std::int64_t freed = std::max<std::int64_t>(session.clear_eval_cache(), 0);
  session.control().phase("soft_done", session.memory().sample(), {},
                          {{"epoch", *epoch},
                           {"freed_bytes", static_cast<std::uint64_t>(freed)},
                           {"done", {"eval weight cache"}}});
}

}  // namespace tetrad::cli

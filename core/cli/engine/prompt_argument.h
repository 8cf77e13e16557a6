// The token ids that a command's --ids, --prompt or --prompt-file stand for.
#pragma once

#include "cli/engine/session.h"

#include <cstdint>
#include <string>
#include <vector>

namespace tetrad::cli {

// At least one id, each within the vocabulary. Throws Error(usage) tagged with the command.
std::vector<std::int32_t> prompt_argument(Session& session, const std::string& command);

}  // namespace tetrad::cli

// What a run asks of the last `host doctor --verify` on its device: nothing that failed there is used. Free
// where no verification failed: the file that says so is not there.
#pragma once

#include "device/choose.h"

#include <string>
#include <utility>
#include <vector>

namespace tetrad::cli {

// Throws Error(plugin_refused) when a kernel of the engine itself, or of one of `plugins` (id, build id),
// failed.
void refuse_failed_kernels(const device::Choice& choice,
                           const std::vector<std::pair<std::string, std::string>>& plugins);

}  // namespace tetrad::cli

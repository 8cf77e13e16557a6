// The other side of SensorFeed: what a helper process does with its sensor until the supervisor dies or ends
// it. Knows nothing of plugins, so that tests run it with a sensor of their own.
#pragma once

#include "guard/page.h"

#include <optional>

namespace tetrad::guard {

// The page in descriptor `fd`, mapped for as long as the process lives. Throws Error when it is none.
Page& map_page(int fd);

// Probes, then samples until the process ends. Returns only when the probe fails (1) or after `most`
// readings.
int run_sensor(GuardSensor& sensor, Page& page, int wake_fd, std::optional<int> most = {});

}  // namespace tetrad::guard

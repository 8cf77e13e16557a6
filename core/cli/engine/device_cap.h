// The device of a run, with libtorch's allocator capped by the guard's limit (device/memory_cap.h): the
// context is made here, before anything else is on the device, and what it takes is measured.
#pragma once

#include "cli/protocol/messages.h"
#include "device/choose.h"

#include <cstdint>
#include <optional>

namespace tetrad::cli {

// The limit of the guard for the pool that a device's memory belongs to; nothing: none. `limit_gb` is
// guard.limit_gb of the config ("auto", "none" or a number of GiB), `host_limit` what it came to on this
// machine, or the stricter limit of a guard above.
std::optional<std::int64_t> device_limit(const nlohmann::json& limit_gb,
                                         std::optional<std::uint64_t> host_limit, std::int64_t total_bytes,
                                         bool unified);

// Says on stderr what the allocator may hold, where that is less than the device has. Throws Error where
// nothing would be left for the model.
device::Choice choose_device(const RunMessage& run);

}  // namespace tetrad::cli

// How fast this machine copies memory that no cache holds: the yardstick of `host bench`. A decode step reads
// each weight once, so it cannot be faster than memory delivers. Bytes are counted as read plus written.
// Host memory is copied by libtorch's threads, each with its own share of the buffer; device memory by the
// runtime's device-to-device copy on the current stream.
#pragma once

#include "device/choose.h"

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace tetrad::cli {

struct CopyRate {
  double bytes_per_second = 0.0;   // median of the samples
  std::uint64_t buffer_bytes = 0;  // of each of the two buffers
  int threads = 0;                 // 0: a device copy

  std::string describe() const;
  nlohmann::json to_json() const;
};

// Takes some tenths of a second, and twice `buffer_bytes` while it runs (a 16th of the memory at most).
// Throws Error where the machine has too little memory left for buffers that exceed its caches.
CopyRate measure_copy_rate(const device::Choice& device);

}  // namespace tetrad::cli

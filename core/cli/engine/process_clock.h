// Seconds since `host` was started, for "time to first token" as its user feels it.
#pragma once

namespace tetrad::cli {

// From the parent's start time in /proc (resolution 10 ms). Measured from the first call when the kernel does
// not tell.
double seconds_since_host_start();

}  // namespace tetrad::cli

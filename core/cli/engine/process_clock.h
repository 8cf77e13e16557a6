// Seconds since `host` was started, for "time to first token" as its user feels it, and since this process
// was.
#pragma once

namespace tetrad::cli {

// From the parent's start time in /proc (resolution 10 ms). Measured from the first call when the kernel does
// not tell.
double seconds_since_host_start();
// The same for this process, of which a `host` may start several.
double seconds_since_engine_start();

}  // namespace tetrad::cli

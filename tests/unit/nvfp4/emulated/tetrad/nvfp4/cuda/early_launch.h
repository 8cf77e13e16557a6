// early_launch.h for emulated/device.h: one kernel at a time.
#pragma once

namespace tetrad::nvfp4::cuda {

inline void let_next_start() {}
inline void wait_for_previous() {}

}  // namespace tetrad::nvfp4::cuda

// Which vector targets Highway compiles for: all that it knows except the scalable ones (SVE), whose vector
// length is not a compile-time constant and which bring nothing over NEON at 128 bits. Include before
// foreach_target.h.
#pragma once

#ifndef HWY_DISABLED_TARGETS
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#endif

#ifdef __clang__
#define TETRAD_UNROLL _Pragma("unroll")
#else
#define TETRAD_UNROLL _Pragma("GCC unroll 16")
#endif

// pipe.cuh for emulated/device.h: copies happen at once, barriers count like mbarrier, and what the hardware
// would refuse or forgive silently (alignment, one arrival too many) throws.
#pragma once

#include "emulated/device.h"

namespace tetrad::nvfp4::cuda {

using SharedAddress = std::uint32_t;
inline constexpr int kBarrierBytes = 8;

inline unsigned char* shared_bytes();  // the test's

inline void expect_hardware(bool takes, const char* what) {
  if (!takes) throw std::runtime_error(what);
}

inline SharedAddress shared_address(const void* p) {
  return static_cast<SharedAddress>(static_cast<const unsigned char*>(p) - shared_bytes());
}
inline uint4 load_shared16(SharedAddress at) {
  expect_hardware(at % 16 == 0, "16 bytes loaded from an odd address");
  uint4 v;
  std::memcpy(&v, shared_bytes() + at, 16);
  return v;
}
inline std::uint32_t load_shared4(SharedAddress at) {
  std::uint32_t v;
  std::memcpy(&v, shared_bytes() + at, 4);
  return v;
}
inline float load_shared_float(SharedAddress at) {
  float v;
  std::memcpy(&v, shared_bytes() + at, 4);
  return v;
}
inline void store_shared_float(SharedAddress at, float v) {
  std::memcpy(shared_bytes() + at, &v, 4);
}

struct EmulatedBarrier {
  std::int16_t expected, pending;
  std::int32_t bytes_and_phase;  // bytes still to come in all bits but the lowest
};
static_assert(sizeof(EmulatedBarrier) == kBarrierBytes);

inline EmulatedBarrier& barrier_at(SharedAddress at) {
  return *reinterpret_cast<EmulatedBarrier*>(shared_bytes() + at);
}
inline void end_phase(EmulatedBarrier& bar) {
  if (bar.pending != 0 || bar.bytes_and_phase >> 1 != 0) return;
  bar.pending = bar.expected;
  bar.bytes_and_phase ^= 1;
  emulated::block.note_progress();
}
inline void barrier_init(SharedAddress at, int arrivals) {
  barrier_at(at) = {static_cast<std::int16_t>(arrivals), static_cast<std::int16_t>(arrivals), 0};
}
inline void barriers_ready() {}
inline void barrier_arrive(SharedAddress at) {
  EmulatedBarrier& bar = barrier_at(at);
  expect_hardware(bar.pending > 0, "a barrier has more arrivals than it was made for");
  --bar.pending;
  end_phase(bar);
}
inline void barrier_wait(SharedAddress at, int parity) {
  while ((barrier_at(at).bytes_and_phase & 1) == parity) emulated::block.yield();
}
inline void barrier_arrive_expecting(SharedAddress at, std::uint32_t bytes) {
  if (emulated::Block::lane() != 0) return;
  barrier_at(at).bytes_and_phase += 2 * static_cast<int>(bytes);
  barrier_arrive(at);
}
inline void copy_bulk(SharedAddress to, const void* from, std::uint32_t bytes, SharedAddress bar) {
  if (emulated::Block::lane() != 0) return;
  expect_hardware(
      to % 16 == 0 && reinterpret_cast<std::uintptr_t>(from) % 16 == 0 && bytes % 16 == 0 && bytes > 0,
      "a bulk copy is not of 16-byte pieces");
  std::memcpy(shared_bytes() + to, from, bytes);
  barrier_at(bar).bytes_and_phase -= 2 * static_cast<int>(bytes);
  end_phase(barrier_at(bar));
}
}  // namespace tetrad::nvfp4::cuda

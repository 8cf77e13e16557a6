// Bulk copies from global to shared memory that report to a barrier in shared memory (mbarrier): sm_90 and
// later; before that the functions do nothing. Barriers count arrivals, and bytes where a bulk copy reports;
// a wait names the parity of the phase it waits for, 0 for the first.
#pragma once

#include <cstdint>

namespace tetrad::nvfp4::cuda {

using SharedAddress = std::uint32_t;  // of a byte in the block's shared memory
inline constexpr int kBarrierBytes = 8;

__device__ inline SharedAddress shared_address(const void* p) {
  return static_cast<SharedAddress>(__cvta_generic_to_shared(p));
}

__device__ inline uint4 load_shared16(SharedAddress at) {
  uint4 v;
  asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "r"(at)
               : "memory");
  return v;
}
__device__ inline std::uint32_t load_shared4(SharedAddress at) {
  std::uint32_t v;
  asm volatile("ld.shared.u32 %0, [%1];" : "=r"(v) : "r"(at) : "memory");
  return v;
}
__device__ inline float load_shared_float(SharedAddress at) {
  return __uint_as_float(load_shared4(at));
}
__device__ inline void store_shared_float(SharedAddress at, float v) {
  asm volatile("st.shared.f32 [%0], %1;" ::"r"(at), "f"(v) : "memory");
}

__device__ inline void barrier_init(SharedAddress bar, int arrivals) {
  asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(bar), "r"(arrivals) : "memory");
}

// After the last barrier_init(), before the __syncthreads() that lets others use them.
__device__ inline void barriers_ready() {
#if __CUDA_ARCH__ >= 900
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

__device__ inline void barrier_arrive(SharedAddress bar) {
  asm volatile("{ .reg .b64 state; mbarrier.arrive.shared.b64 state, [%0]; }" ::"r"(bar) : "memory");
}

__device__ inline bool barrier_passed(SharedAddress bar, int parity) {
  std::uint32_t passed;
#if __CUDA_ARCH__ >= 900
  asm volatile("{ .reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2; selp.u32 %0, 1, 0, p; }"
               : "=r"(passed)
               : "r"(bar), "r"(parity)
               : "memory");
#else
  asm volatile("{ .reg .pred p; mbarrier.test_wait.parity.shared.b64 p, [%1], %2; selp.u32 %0, 1, 0, p; }"
               : "=r"(passed)
               : "r"(bar), "r"(parity)
               : "memory");
#endif
  return passed != 0;
}

__device__ inline void barrier_wait(SharedAddress bar, int parity) {
  while (!barrier_passed(bar, parity)) {
  }
}

// One arrival, and `bytes` more that bulk copies of this phase will report. All lanes of a warp call this and
// copy_bulk(), with the same arguments; one of them acts.
__device__ inline void barrier_arrive_expecting(SharedAddress bar, std::uint32_t bytes) {
#if __CUDA_ARCH__ >= 900
  asm volatile(
      "{ .reg .pred one; elect.sync _|one, 0xFFFFFFFF;\n"
      "@one mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1; }" ::"r"(bar),
      "r"(bytes)
      : "memory");
#endif
}

// Addresses and bytes are multiples of 16. A warp's arrival of this phase comes before its copies.
__device__ inline void copy_bulk(SharedAddress to, const void* from, std::uint32_t bytes, SharedAddress bar) {
#if __CUDA_ARCH__ >= 900
  asm volatile(
      "{ .reg .pred one; elect.sync _|one, 0xFFFFFFFF;\n"
      "@one cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3]; }" ::"r"(
          to),
      "l"(from), "r"(bytes), "r"(bar)
      : "memory");
#endif
}

}  // namespace tetrad::nvfp4::cuda

// Programmatic dependent launch (sm_90 and later): a kernel of a chain may be placed on the device while the
// one before it still runs, and read there what no kernel of the chain writes (weights), before it waits for
// the results. Elsewhere, or with TETRAD_EARLY_LAUNCH=0 in the environment, launches follow one another as
// always.
//
// Rules for a kernel that is started with launch_early(): it calls let_next_start() once, early;
// wait_for_previous() in every thread before it reads anything that an earlier kernel may have written, and
// before its first write; what it reads after that it reads with plain loads, which cannot be moved above the
// wait (ld.global.nc and __ldg can). A kernel that was started otherwise is a full barrier on both sides, so
// weights may be written by such a kernel only.
#pragma once

#include <cuda_runtime.h>

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <string_view>
#include <utility>

namespace tetrad::nvfp4::cuda {

#ifdef __CUDACC__
__device__ inline void let_next_start() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

__device__ inline void wait_for_previous() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
#endif

// Whether the current device takes early launches; asked once for each device.
inline bool early_launch_here() noexcept {
  static const bool wanted = [] {
    const char* text = std::getenv("TETRAD_EARLY_LAUNCH");
    return text == nullptr || std::string_view(text) != "0";
  }();
  constexpr int kDevices = 64;
  static std::atomic<signed char> known[kDevices];  // 0 not asked, 1 yes, -1 no
  int device = 0;
  if (!wanted || cudaGetDevice(&device) != cudaSuccess || device < 0 || device >= kDevices) return false;
  signed char answer = known[device].load(std::memory_order_relaxed);
  if (answer == 0) {
    int major = 0;
    const bool takes =
        cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) == cudaSuccess &&
        major >= 9;
    known[device].store(answer = takes ? 1 : -1, std::memory_order_relaxed);
  }
  return answer > 0;
}

#ifdef __CUDACC__
// kernel<<<grid, block, shared, stream>>>(args...), early where the device takes it. The error is
// cudaGetLastError()'s to give, as with <<<>>>.
template <class... Parameters, class... Arguments>
void launch_early(void (*kernel)(Parameters...), dim3 grid, dim3 block, std::size_t shared,
                  cudaStream_t stream, Arguments&&... arguments) {
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared;
  config.stream = stream;
  config.attrs = &attribute;
  config.numAttrs = early_launch_here() ? 1 : 0;
  static_cast<void>(cudaLaunchKernelEx(&config, kernel, std::forward<Arguments>(arguments)...));
}
#endif

}  // namespace tetrad::nvfp4::cuda

#include <cuda_runtime_api.h>
#include <tetrad/base/error.h>

#include <array>
#include <cstdlib>
#include <mutex>
#include <string_view>

#include "nvfp4/cuda/packed_plan.h"

namespace tetrad::nvfp4::cuda {

DeviceLimits device_limits() {
  constexpr int kDevices = 64;
  static std::array<DeviceLimits, kDevices> known;
  static std::array<std::once_flag, kDevices> asked;
  int device = 0;
  if (cudaGetDevice(&device) != cudaSuccess || device < 0 || device >= kDevices)
    throw Error("[nvfp4] packed product: no current CUDA device");
  const auto at = static_cast<std::size_t>(device);
  std::call_once(asked[at], [&] {
    DeviceLimits& limits = known[at];
    int major = 0;
    if (cudaDeviceGetAttribute(&limits.processors, cudaDevAttrMultiProcessorCount, device) != cudaSuccess ||
        cudaDeviceGetAttribute(&limits.shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, device) !=
            cudaSuccess ||
        cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) != cudaSuccess)
      throw Error("[nvfp4] packed product: CUDA device " + std::to_string(device) +
                  " does not tell its limits");
    limits.bulk = major >= 9;
  });
  return known[at];
}

bool ring_wanted(bool planned) {
  static const std::string_view said = [] {
    const char* text = std::getenv("TETRAD_PACKED_RING");
    return std::string_view(text == nullptr ? "" : text);
  }();
  return said == "all" || (planned && said != "none");
}

bool ring_takes(const RingPlan& plan, int m, std::int64_t k, std::span<const PackedLinear> weights) {
  if (!device_limits().bulk || k % kUnitCols != 0 || k > (std::int64_t{1} << 30)) return false;
  std::int64_t rows = 0;
  for (const PackedLinear& w : weights) {
    rows += w.rows;
    if (w.lo_codes != nullptr || reinterpret_cast<std::uintptr_t>(w.codes) % 16 != 0 ||
        reinterpret_cast<std::uintptr_t>(w.scales) % 16 != 0)
      return false;
  }
  if (rows > 0x7FFFFFF0) return false;
  const RingShape shape = ring_shape(k, plan.warps);
  return shape.warps <= kRingMaxWarps &&
         ring_layout(plan, shape, std::min(m, kRingX), std::min(plan.shared, device_limits().shared))
                 .stages >= 2;
}

}  // namespace tetrad::nvfp4::cuda

// The shape of a packed_linear launch, as a function of the weights' shape alone: it decides the order of the
// sums, so it must depend neither on the number of rows of x nor on the device.
#pragma once

#include <tetrad/nvfp4/cuda/packed_linear.h>

#include <algorithm>
#include <cstdint>
#include <span>

#include "nvfp4/cuda/fragment.h"
#include "nvfp4/cuda/ring_plan.h"

namespace tetrad::nvfp4::cuda {

inline constexpr int kTileRows = 8;
inline constexpr int kMaxPackedWarps = 16;

struct PackedPlan {
  int warps = 1;      // that share the columns of a block's rows
  int tiles = 1;      // of kTileRows rows a block
  bool ring = false;  // through shared memory by `through`, where the weights allow it; else by the above
  RingPlan through;
};

// Twelve warps of 80 registers leave room on a multiprocessor for a block of the kernel that comes next,
// which fills its own ring meanwhile: that is worth more than further warps. Few columns are shared by
// several groups of warps instead; where there are many tiles, two blocks of one launch share a
// multiprocessor.
inline RingPlan plan_ring(std::int64_t row_tiles, std::int64_t k) {
  constexpr int kWarps = 12;
  RingPlan plan;
  plan.warps = 10;
  const RingShape shape = ring_shape(k, plan.warps);
  plan.producers = std::clamp(kWarps - 1 - shape.warps, 1, kRingMaxProducers);
  while (shape.slabs == 1 && shape.warps * plan.groups * 2 <= 10 && plan.groups < plan.slots)
    plan.groups *= 2;
  if (row_tiles >= 8192) plan.blocks = 2;
  return plan;
}

// row_tiles: tiles of kTileRows rows in all weights of the launch; paired: gate and up, which take two tiles
// a block. All blocks should be on the device at once with a little room for the kernel that comes next, and
// within that as many warps should share a block as there is room for: what counts is the bytes on their way.
// More blocks on a multiprocessor than its even share would leave others idle, so fewer, larger blocks are
// better than many small ones (sweeps of an H100: bench/results).
inline PackedPlan plan_packed(std::int64_t row_tiles, std::int64_t k_padded, bool paired) {
  constexpr std::int64_t kProcessors = 132;
  PackedPlan plan;
  plan.tiles = paired || row_tiles >= 640 ? 2 : 1;
  if (!paired && row_tiles >= 8192) plan.tiles = 4;
  const std::int64_t blocks = (row_tiles + plan.tiles - 1) / plan.tiles;
  const std::int64_t chunks = (k_padded + kChunkCols - 1) / kChunkCols;
  const std::int64_t held = plan.tiles == 1 ? 32 : (plan.tiles == 2 ? 21 : 17);  // warps, by their registers
  const std::int64_t share = (blocks * 108 + kProcessors * 100 - 1) / (kProcessors * 100);
  plan.warps = static_cast<int>(std::clamp<std::int64_t>(held / share, 1, kMaxPackedWarps));
  if (share > held / 2) plan.warps = 4;  // several waves whatever the plan
  if (plan.warps > chunks) plan.warps = static_cast<int>(chunks);
  // In a whole decode step the ring gained for the head and lost for small weights (measured on an H100). It
  // must not depend on the rows of x.
  plan.ring = row_tiles >= 8192;
  plan.through = plan_ring(row_tiles, k_padded);
  return plan;
}

// The plan's choice of the kernel, or what TETRAD_PACKED_RING in the environment says: all (every weight that
// can goes through the ring) or none, for comparisons.
bool ring_wanted(bool planned);

// What the current device offers; asked once.
struct DeviceLimits {
  int processors = 0;  // multiprocessors
  int shared = 0;      // bytes of shared memory a block can have
  bool bulk = false;   // bulk copies into it
};
DeviceLimits device_limits();

// Whether weights can go through a ring of this plan on the current device: whole units of columns, codes and
// scales 16-byte aligned, no lo plane, room for two stages, and bulk copies (sm_90 and later).
bool ring_takes(const RingPlan& plan, int m, std::int64_t k, std::span<const PackedLinear> weights);

// packed_linear with a given plan and without its checks: for measuring plans. A paired launch takes
// plan.tiles = 2.
template <class T>
void packed_linear_planned(const PackedPlan& plan, const T* x, int m, std::int64_t k, std::int64_t x_stride,
                           std::span<const PackedLinear> weights, PackedEpilogue epilogue, bool float_out,
                           Stream stream);

}  // namespace tetrad::nvfp4::cuda

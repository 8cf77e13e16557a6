// The shape of a packed_linear launch, as a function of the weights' shape alone: it decides the order of the
// sums, so it must depend neither on the number of rows of x nor on the device.
#pragma once

#include <tetrad/nvfp4/cuda/packed_linear.h>

#include <algorithm>
#include <cstdint>
#include <span>

#include "nvfp4/cuda/fragment.h"

namespace tetrad::nvfp4::cuda {

inline constexpr int kTileRows = 8;
inline constexpr int kMaxPackedWarps = 16;

struct PackedPlan {
  int warps = 1;  // that share the columns of a block's rows
  int tiles = 1;  // of kTileRows rows a block
};

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
  return plan;
}

// packed_linear with a given plan and without its checks: for measuring plans. A paired launch takes
// plan.tiles = 2.
template <class T>
void packed_linear_planned(const PackedPlan& plan, const T* x, int m, std::int64_t k, std::int64_t x_stride,
                           std::span<const PackedLinear> weights, PackedEpilogue epilogue, bool float_out,
                           Stream stream);

}  // namespace tetrad::nvfp4::cuda

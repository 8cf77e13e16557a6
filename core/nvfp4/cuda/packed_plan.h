// The shape of a packed_linear launch, as a function of the weights' shape alone: it decides the order of the
// sums, so it must depend neither on the number of rows of x nor on the device.
#pragma once

#include <tetrad/nvfp4/cuda/packed_linear.h>

#include <cstdint>
#include <span>

#include "nvfp4/cuda/fragment.h"

namespace tetrad::nvfp4::cuda {

inline constexpr int kMaxPackedWarps = 8;

struct PackedPlan {
  int warps = 1;  // that share the columns of a block's rows
  int tiles = 1;  // of 16 rows a block
};

// row_tiles: tiles of 16 rows in all weights of the launch; paired: gate and up, which take two tiles a
// block. The model: a multiprocessor of a large device (132 of them) holds 24 warps; chunks should be shared
// out evenly between a block's warps, the device should be full, and the last wave of blocks should not be
// small.
inline PackedPlan plan_packed(std::int64_t row_tiles, std::int64_t k_padded, bool paired) {
  constexpr std::int64_t kProcessors = 132, kHeld = 24, kEnough = 16;
  PackedPlan plan;
  plan.tiles = paired || row_tiles >= 4096 ? 2 : 1;
  const std::int64_t blocks = (row_tiles + plan.tiles - 1) / plan.tiles;
  const std::int64_t chunks = (k_padded + kChunkCols - 1) / kChunkCols;
  double best = -1.0;
  for (int warps = 1; warps <= kMaxPackedWarps && warps <= chunks; ++warps) {
    const std::int64_t turns = (chunks + warps - 1) / warps;
    double worth = static_cast<double>(chunks) / static_cast<double>(turns * warps);
    const std::int64_t wave = kProcessors * (kHeld / warps);
    const std::int64_t waves = (blocks + wave - 1) / wave;
    if (waves > 1) {
      worth *= static_cast<double>(blocks) / static_cast<double>(waves * wave);
    } else if (blocks * warps < kProcessors * kEnough) {
      worth *= static_cast<double>(blocks * warps) / static_cast<double>(kProcessors * kEnough);
    }
    if (worth > best + 1e-9) {
      best = worth;
      plan.warps = warps;
    }
  }
  return plan;
}

// packed_linear with a given plan and without its checks: for measuring plans. A paired launch takes
// plan.tiles = 2.
template <class T>
void packed_linear_planned(const PackedPlan& plan, const T* x, int m, std::int64_t k, std::int64_t x_stride,
                           std::span<const PackedLinear> weights, PackedEpilogue epilogue, bool float_out,
                           Stream stream);

}  // namespace tetrad::nvfp4::cuda

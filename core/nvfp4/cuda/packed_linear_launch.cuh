// The host side of packed_linear: checks, the shape of the launch, and the choice of the kernel's template.
// Included by one file per activation type, which compile side by side.
#pragma once

#include <cuda_runtime_api.h>
#include <tetrad/base/error.h>

#include <algorithm>
#include <string>

#include "nvfp4/cuda/packed_linear.cuh"
#include "nvfp4/cuda/packed_plan.h"

namespace tetrad::nvfp4::cuda {

[[noreturn]] inline void refuse_packed(const std::string& why) {
  throw Error(ExitCode::usage, "[nvfp4] packed product: " + why);
}

template <class T>
void check_packed(int m, std::int64_t k, std::span<const PackedLinear> weights, PackedEpilogue epilogue,
                  bool float_out) {
  if (m < 1 || m > kMaxPackedRows)
    refuse_packed("x has " + std::to_string(m) + " rows, it takes 1 to " + std::to_string(kMaxPackedRows));
  if (k < 1) refuse_packed("x has no columns");
  if (weights.empty() || weights.size() > kMaxPackedGroup)
    refuse_packed("a group has 1 to " + std::to_string(kMaxPackedGroup) + " weights, this one " +
                  std::to_string(weights.size()));
  if (float_out && epilogue != PackedEpilogue::store) refuse_packed("float results can only be stored");
  if (epilogue == PackedEpilogue::silu_mul && (weights.size() != 2 || weights[0].rows != weights[1].rows))
    refuse_packed("silu_mul needs two weights of equal rows");
  for (const PackedLinear& w : weights) {
    if (w.rows < 1) refuse_packed("a weight has no rows");
    if (w.rows > 0x7FFFFFF0 || packed_cols(k) / 2 * w.rows >= std::int64_t{1} << 32)
      refuse_packed("a weight of " + std::to_string(w.rows) + " x " + std::to_string(k) +
                    " has 4 GiB of codes or more");
    if ((w.lo_codes == nullptr) != (weights[0].lo_codes == nullptr))
      refuse_packed("weights with and without a lo plane cannot share a launch");
    if (w.codes == nullptr || w.scales == nullptr) refuse_packed("a weight has no codes or no scales");
    if (w.y == nullptr && !(epilogue == PackedEpilogue::silu_mul && &w == &weights[1]))
      refuse_packed("a weight has nowhere to store its product");
  }
}

inline bool aligned(const void* p, std::uintptr_t to) {
  return reinterpret_cast<std::uintptr_t>(p) % to == 0;
}

struct PackedLaunch {
  int blocks = 0, warps = 0;
  int tiles = 1;        // a block: 1, 2 or 4
  bool wide = false;    // 16-byte loads of codes
  bool lo = false;      // there is a lo plane
  bool staged = false;  // x goes through shared memory
  Stream stream = nullptr;
};

inline constexpr std::size_t kSharedBytes = 48 * 1024;  // that need no opt-in, and that every device has

inline std::size_t partial_bytes(int warps, int tiles, int batches) {
  return static_cast<std::size_t>(warps) *
         static_cast<std::size_t>(tiles * 8 * batches * (kTileRows + 1) * 4);
}
inline std::size_t staged_bytes(int m, int k_padded) {
  return static_cast<std::size_t>(m) *
         static_cast<std::size_t>(staged_row_units((k_padded + kChunkCols - 1) / kChunkCols)) * 16;
}

template <class T, int kBatches, int kTiles, bool kWide, bool kLo, bool kStaged>
void start_packed(const PackedLinearArgs& args, const PackedLaunch& how) {
  static_assert(kMaxPackedWarps * 4 * 16 * (kTileRows + 1) * 4 <= kSharedBytes,
                "the reduction needs no opt-in");
  const std::size_t shared =
      partial_bytes(how.warps, kTiles, kBatches) + (kStaged ? staged_bytes(args.m, args.k_padded) : 0);
  launch_early(packed_linear_kernel<T, kBatches, kTiles, kWide, kLo, kStaged>,
               static_cast<unsigned>(how.blocks), static_cast<unsigned>(how.warps) * 32, shared, how.stream,
               args);
  const cudaError_t status = cudaGetLastError();
  if (status != cudaSuccess)
    throw Error(std::string("[nvfp4] packed product: the device refused the kernel: ") +
                cudaGetErrorString(status));
}

// The kernels that exist: four tiles for plain planes in wide loads, staging where x has one row.
template <class T, int kBatches, bool kWide, bool kLo, bool kStaged>
void start_packed(const PackedLinearArgs& args, const PackedLaunch& how) {
  if constexpr (kWide && !kLo) {
    if (how.tiles == 4) return start_packed<T, kBatches, 4, kWide, kLo, kStaged>(args, how);
  }
  if (how.tiles == 2) return start_packed<T, kBatches, 2, kWide, kLo, kStaged>(args, how);
  start_packed<T, kBatches, 1, kWide, kLo, kStaged>(args, how);
}

template <class T, int kBatches, bool kLo>
void start_packed(const PackedLinearArgs& args, const PackedLaunch& how) {
  if (!how.wide) return start_packed<T, kBatches, false, kLo, false>(args, how);
  if constexpr (kBatches == 1) {
    if (how.staged) return start_packed<T, kBatches, true, kLo, true>(args, how);
  }
  start_packed<T, kBatches, true, kLo, false>(args, how);
}

inline std::int64_t row_tiles_of(std::span<const PackedLinear> weights) {
  std::int64_t row_tiles = 0;
  for (const PackedLinear& w : weights) row_tiles += (w.rows + kTileRows - 1) / kTileRows;
  return row_tiles;
}

inline PackedPlan plan_packed(std::span<const PackedLinear> weights, std::int64_t k,
                              PackedEpilogue epilogue) {
  return plan_packed(row_tiles_of(weights), packed_cols(k), epilogue == PackedEpilogue::silu_mul);
}

template <class T>
void packed_linear_planned(const PackedPlan& plan, const T* x, int m, std::int64_t k, std::int64_t x_stride,
                           std::span<const PackedLinear> weights, PackedEpilogue epilogue, bool float_out,
                           Stream stream) {
  PackedLinearArgs args;
  args.x = x;
  args.m = m;
  args.x_vector = aligned(x, 16) && x_stride % 8 == 0;
  args.moves = moves<T>();
  args.float_out = float_out;
  args.epilogue = epilogue;
  args.count = static_cast<int>(weights.size());
  args.k = static_cast<int>(k);
  args.k_padded = static_cast<int>(packed_cols(k));
  args.x_stride = x_stride;
  bool wide = args.k_padded % 32 == 0;
  for (const PackedLinear& w : weights) {
    wide = wide && aligned(w.codes, 16) && aligned(w.scales, 2) &&
           (w.lo_codes == nullptr || aligned(w.lo_codes, 16));
  }
  const bool paired = epilogue == PackedEpilogue::silu_mul;
  PackedLaunch how;
  how.warps = plan.warps;
  how.wide = wide;
  how.lo = weights[0].lo_codes != nullptr;
  how.stream = stream;
  // How many tiles share a load of x changes no sum.
  how.tiles = paired ? 2 : plan.tiles;
  if (m > 8 && !paired) how.tiles = row_tiles_of(weights) >= 2048 ? 4 : 2;
  if (how.tiles == 4 && (!wide || how.lo)) how.tiles = 2;
  // For more rows the copies cost more than they save (measured on an H100).
  how.staged = m == 1 && wide &&
               staged_bytes(m, args.k_padded) + partial_bytes(how.warps, how.tiles, 1) <= kSharedBytes;

  const std::int64_t block_rows = kTileRows * (paired ? 1 : how.tiles);
  std::int64_t blocks = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    args.weight[i] = weights[i];
    args.first[i] = static_cast<int>(blocks);
    if (paired && i == 1) break;
    blocks += (weights[i].rows + block_rows - 1) / block_rows;
  }
  how.blocks = static_cast<int>(blocks);
  if (m <= 8)
    how.lo ? start_packed<T, 1, true>(args, how) : start_packed<T, 1, false>(args, how);
  else
    how.lo ? start_packed<T, 2, true>(args, how) : start_packed<T, 2, false>(args, how);
}

template <class T>
void packed_linear(const T* x, int m, std::int64_t k, std::int64_t x_stride,
                   std::span<const PackedLinear> weights, PackedEpilogue epilogue, bool float_out,
                   Stream stream) {
  check_packed<T>(m, k, weights, epilogue, float_out);
  packed_linear_planned(plan_packed(weights, k, epilogue), x, m, k, x_stride, weights, epilogue, float_out,
                        stream);
}

}  // namespace tetrad::nvfp4::cuda

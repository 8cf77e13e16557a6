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

template <class T, int kBatches, int kTiles, bool kWide, bool kLo>
void launch_packed(const PackedLinearArgs& args, int blocks, int warps, Stream stream) {
  const std::size_t shared = static_cast<std::size_t>(warps) * kTiles * 8 * kBatches * (kTileRows + 1) * 4;
  static_assert(kMaxPackedWarps * 2 * 16 * (kTileRows + 1) * 4 <= 48 * 1024, "the reduction needs no opt-in");
  packed_linear_kernel<T, kBatches, kTiles, kWide, kLo>
      <<<static_cast<unsigned>(blocks), static_cast<unsigned>(warps) * 32, shared, stream>>>(args);
  const cudaError_t status = cudaGetLastError();
  if (status != cudaSuccess)
    throw Error(std::string("[nvfp4] packed product: the device refused the kernel: ") +
                cudaGetErrorString(status));
}

template <class T, int kBatches, bool kLo>
void launch_packed(const PackedLinearArgs& args, int tiles, bool wide, int blocks, int warps, Stream stream) {
  if (tiles == 2) {
    if (wide)
      launch_packed<T, kBatches, 2, true, kLo>(args, blocks, warps, stream);
    else
      launch_packed<T, kBatches, 2, false, kLo>(args, blocks, warps, stream);
  } else {
    if (wide)
      launch_packed<T, kBatches, 1, true, kLo>(args, blocks, warps, stream);
    else
      launch_packed<T, kBatches, 1, false, kLo>(args, blocks, warps, stream);
  }
}

inline PackedPlan plan_packed(std::span<const PackedLinear> weights, std::int64_t k,
                              PackedEpilogue epilogue) {
  std::int64_t row_tiles = 0;
  for (const PackedLinear& w : weights) row_tiles += (w.rows + kTileRows - 1) / kTileRows;
  return plan_packed(row_tiles, packed_cols(k), epilogue == PackedEpilogue::silu_mul);
}

template <class T>
void packed_linear_planned(const PackedPlan& plan, const T* x, int m, std::int64_t k, std::int64_t x_stride,
                           std::span<const PackedLinear> weights, PackedEpilogue epilogue, bool float_out,
                           Stream stream) {
  PackedLinearArgs args;
  args.x = x;
  args.m = m;
  args.x_vector = aligned(x, 16) && x_stride % 8 == 0;
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
  const std::int64_t block_rows = kTileRows * (paired ? 1 : plan.tiles);
  std::int64_t blocks = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    args.weight[i] = weights[i];
    args.first_block[i] = static_cast<int>(blocks);
    if (paired && i == 1) break;
    blocks += (weights[i].rows + block_rows - 1) / block_rows;
  }
  const int grid = static_cast<int>(blocks);
  const bool lo = weights[0].lo_codes != nullptr;
  if (m <= 8) {
    if (lo)
      launch_packed<T, 1, true>(args, plan.tiles, wide, grid, plan.warps, stream);
    else
      launch_packed<T, 1, false>(args, plan.tiles, wide, grid, plan.warps, stream);
  } else {
    if (lo)
      launch_packed<T, 2, true>(args, plan.tiles, wide, grid, plan.warps, stream);
    else
      launch_packed<T, 2, false>(args, plan.tiles, wide, grid, plan.warps, stream);
  }
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

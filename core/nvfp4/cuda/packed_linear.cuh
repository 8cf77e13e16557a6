// The kernel of packed_linear: a block of warps computes kTiles tiles of 8 rows of the weights against all
// rows of x. Each warp takes an equal run of chunks of 128 columns, keeps kDepth of them in flight in
// registers, and the partial sums of the warps meet once in shared memory, added in the order of the warps.
// The first chunks of the weights are on their way before the kernel waits for the one that computes x
// (early_launch.h); then, where x has one row, each warp puts its own columns of it into shared memory in the
// order in which the products need them, so that no load of x stands between two chunks.
#pragma once

#include <tetrad/nvfp4/cuda/early_launch.h>

#include "nvfp4/cuda/packed_common.cuh"
#include "nvfp4/cuda/packed_plan.h"
#include "nvfp4/cuda/tensor_core.cuh"

namespace tetrad::nvfp4::cuda {

// Weights are read once: past the first-level cache.
__device__ inline uint4 load_stream(const std::uint8_t* p) {
  uint4 v;
  asm("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
      : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
      : "l"(p));
  return v;
}

// What a lane holds of one row in one chunk: 32 codes and their two block scales.
template <bool kLo>
struct RowPiece {
  std::uint32_t hi[4];
  std::uint32_t lo[kLo ? 4 : 1];
  std::uint32_t scales;  // the first in the low byte
};

// 32 columns that begin `at` bytes behind the first code of the weight; the first `left` of them exist, the
// others read as zero codes with scale zero. Eight bytes of codes go with one scale, so one offset serves all
// planes. Wide: left is a multiple of 32 and the codes 16-byte aligned; otherwise 8-byte pieces.
template <bool kWide, bool kLo>
__device__ inline void load_piece(const PackedLinear& w, std::uint32_t at, int left, RowPiece<kLo>& piece) {
  if constexpr (kWide) {
    uint4 hi = make_uint4(0, 0, 0, 0), lo = hi;
    piece.scales = 0;
    if (left > 0) {
      hi = load_stream(w.codes + at);
      if constexpr (kLo) lo = load_stream(w.lo_codes + at);
      piece.scales = __ldg(reinterpret_cast<const std::uint16_t*>(w.scales + at / 8));
    }
    put(hi, piece.hi);
    if constexpr (kLo) put(lo, piece.lo);
  } else {
    piece.scales = 0;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      uint2 hi = make_uint2(0, 0), lo = hi;
      if (left > half * kBlock) {
        hi = __ldg(reinterpret_cast<const uint2*>(w.codes + at) + half);
        if constexpr (kLo) lo = __ldg(reinterpret_cast<const uint2*>(w.lo_codes + at) + half);
        piece.scales |= static_cast<std::uint32_t>(__ldg(w.scales + at / 8 + half)) << (8 * half);
      }
      piece.hi[2 * half] = hi.x;
      piece.hi[2 * half + 1] = hi.y;
      if constexpr (kLo) {
        piece.lo[2 * half] = lo.x;
        piece.lo[2 * half + 1] = lo.y;
      }
    }
  }
}

// x in shared memory: units of eight elements, sixteen to a chunk, those that four lanes read together side
// by side. A row is padded by four units so that two rows lie in different banks.
inline constexpr int kChunkUnits = kChunkCols / 8;
TETRAD_HD constexpr int staged_row_units(int chunks) {
  return chunks * kChunkUnits + 4;
}
TETRAD_HD constexpr int staged_unit(int chunk, int lane_group, int word) {
  return chunk * kChunkUnits + word * 4 + lane_group;
}

// One word of a row's codes against the same eight columns of x: two mma. x is the operand of sixteen rows,
// so the rows of x beyond the first eight cost registers but no mma.
template <class T, bool kLo, int kBatches>
__device__ inline void multiply(const RowPiece<kLo>& row, int word, const std::uint32_t (&scale)[2],
                                const std::uint32_t (&quarter)[2], const Moves& by,
                                const std::uint32_t (&x)[kBatches][4], float (&sums)[4]) {
  std::uint32_t w[4];
  if constexpr (kLo)
    weight_pairs<T>(row.hi[word], row.lo[word], scale[word / 2], quarter[word / 2], by, w);
  else
    weight_pairs<T>(row.hi[word], scale[word / 2], by, w);
  if constexpr (kBatches == 2) {
    mma<T>(sums, x[0][0], x[1][0], x[0][1], x[1][1], w[0], w[1]);
    mma<T>(sums, x[0][2], x[1][2], x[0][3], x[1][3], w[2], w[3]);
  } else {
    mma<T>(sums, x[0][0], 0, x[0][1], 0, w[0], w[1]);
    mma<T>(sums, x[0][2], 0, x[0][3], 0, w[2], w[3]);
  }
}

template <class T, int kBatches, int kTiles, bool kWide, bool kLo, bool kStaged>
__global__ void __launch_bounds__(kMaxPackedWarps * 32,
                                  kTiles == 1 && kBatches == 1 && !kLo && kStaged ? 2 : 1)
    packed_linear_kernel(const __grid_constant__ PackedLinearArgs args) {
  constexpr int kDepth = (kTiles == 1 ? 6 : (kTiles == 2 ? 4 : 2)) / (kLo ? 2 : 1);
  constexpr int kCols = 8 * kBatches;
  constexpr int kPartial = kTiles * kCols * (kTileRows + 1);  // padded against bank conflicts
  extern __shared__ uint4 shared[];                           // x, then the partial sums

  let_next_start();
  const int warps = static_cast<int>(blockDim.x) / 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int g = lane / 4, t = lane % 4;

  // Which weight, and which of its rows. Gate and up run side by side: tile 0 is gate's, tile 1 up's.
  const bool paired = args.epilogue == PackedEpilogue::silu_mul;
  int which = 0;
  if (!paired) {
    while (which + 1 < args.count && static_cast<int>(blockIdx.x) >= args.first[which + 1]) ++which;
  }
  const int block = static_cast<int>(blockIdx.x) - args.first[which];
  const int first_row = block * kTileRows * (paired ? 1 : kTiles);
  const int rows = static_cast<int>(args.weight[which].rows);

  std::uint32_t row_at[kTiles];  // byte of the lane's first code
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile) {
    const int row = first_row + (paired ? 0 : tile * kTileRows) + g;
    // A row that the weight does not have repeats the last one and is not stored.
    row_at[tile] =
        static_cast<std::uint32_t>(min(row, rows - 1)) * static_cast<std::uint32_t>(args.k_padded / 2) +
        static_cast<std::uint32_t>(t * kLaneCols / 2);
  }

  const int chunks = (args.k_padded + kChunkCols - 1) / kChunkCols;
  const int run = (chunks + warps - 1) / warps;
  const int begin = min(warp * run, chunks), end = min(begin + run, chunks);
  RowPiece<kLo> stage[kDepth][kTiles];
  float sums[kTiles][4] = {};  // x rows g and g + 8 against the tile's rows 2 t and 2 t + 1
  std::uint32_t flags[kTiles] = {};

  const auto fetch = [&](int chunk, RowPiece<kLo>(&to)[kTiles]) {
    const int left = args.k_padded - (chunk * kChunkCols + t * kLaneCols);
    const std::uint32_t at = static_cast<std::uint32_t>(chunk * (kChunkCols / 2));
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) {
      const PackedLinear& w = args.weight[paired ? tile : which];
      load_piece<kWide, kLo>(w, row_at[tile] + at, left, to[tile]);
    }
  };

#pragma unroll
  for (int d = 0; d < kDepth; ++d) {
    if (begin + d < end) fetch(begin + d, stage[d]);
  }
  wait_for_previous();

  const T* x = static_cast<const T*>(args.x);
  const int row_units = staged_row_units(chunks);
  if constexpr (kStaged) {
    for (int row = 0; row < args.m; ++row) {
      const T* from = x + row * args.x_stride;
      for (int unit = begin * kChunkUnits + lane; unit < end * kChunkUnits; unit += 32) {
        std::uint32_t pairs[4];
        load_x(from, unit * 8, args.k, args.x_vector, pairs);
        const int in_chunk = unit % kChunkUnits;
        shared[row * row_units + staged_unit(unit / kChunkUnits, in_chunk / 4, in_chunk % 4)] =
            make_uint4(pairs[0], pairs[1], pairs[2], pairs[3]);
      }
    }
    __syncwarp();
  }

  for (int base = begin; base < end; base += kDepth) {
#pragma unroll
    for (int d = 0; d < kDepth; ++d) {
      const int chunk = base + d;
      if (chunk < end) {
        // Rows that x does not have are zeros, and must cost nothing: with one row they are seven lanes in
        // eight. Loads past shared memory are all on their way before the first is needed.
        std::uint32_t pairs[4][kBatches][4] = {};
        if constexpr (!kStaged) {
          const int col = chunk * kChunkCols + t * kLaneCols;
          // The branch stands around all loads: inside it they would wait for one another.
          if (args.x_vector && chunk * kChunkCols + kChunkCols <= args.k) {
            uint4 raw[4][kBatches];
#pragma unroll
            for (int word = 0; word < 4; ++word) {
#pragma unroll
              for (int b = 0; b < kBatches; ++b) {
                raw[word][b] = make_uint4(0, 0, 0, 0);
                if (g + 8 * b < args.m)
                  raw[word][b] =
                      *reinterpret_cast<const uint4*>(x + (g + 8 * b) * args.x_stride + col + 8 * word);
              }
            }
#pragma unroll
            for (int word = 0; word < 4; ++word) {
#pragma unroll
              for (int b = 0; b < kBatches; ++b) {
                std::uint32_t in_order[4];
                put(raw[word][b], in_order);
                activation_pairs(in_order, pairs[word][b]);
              }
            }
          } else {
#pragma unroll
            for (int word = 0; word < 4; ++word) {
#pragma unroll
              for (int b = 0; b < kBatches; ++b) {
                const int row = g + 8 * b;
                if (row < args.m)
                  load_x(x + row * args.x_stride, col + 8 * word, args.k, args.x_vector, pairs[word][b]);
              }
            }
          }
        }
        std::uint32_t scale[kTiles][2], quarter[kTiles][2];
#pragma unroll
        for (int tile = 0; tile < kTiles; ++tile) {
          const std::uint32_t scales = stage[d][tile].scales;
          flags[tile] |= scale_flags(scales);
#pragma unroll
          for (int b = 0; b < 2; ++b) {
            scale[tile][b] = scale_pair<T>(scales, b);
            if constexpr (kLo) quarter[tile][b] = scale_pair<T, true>(scales, b);
          }
        }
#pragma unroll
        for (int word = 0; word < 4; ++word) {
          if constexpr (kStaged) {
#pragma unroll
            for (int b = 0; b < kBatches; ++b) {
              if (g + 8 * b < args.m)
                put(shared[(g + 8 * b) * row_units + staged_unit(chunk, t, word)], pairs[word][b]);
            }
          }
#pragma unroll
          for (int tile = 0; tile < kTiles; ++tile)
            multiply<T, kLo, kBatches>(stage[d][tile], word, scale[tile], quarter[tile], args.moves,
                                       pairs[word], sums[tile]);
        }
        if (chunk + kDepth < end) fetch(chunk + kDepth, stage[d]);
      }
    }
  }

  float* partial = reinterpret_cast<float*>(shared + (kStaged ? args.m * row_units : 0));
  float* mine = partial + warp * kPartial;  // [tile][row of x][row of the tile + 1]
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile) {
    const unsigned bad = __ballot_sync(0xFFFFFFFFu, (flags[tile] & kBadScale) != 0);
#pragma unroll
    for (int i = 0; i < 2 * kBatches; ++i) {
      const int col = g + 8 * (i / 2), row = 2 * t + i % 2;
      const bool is_nan = (bad >> (4 * row) & 0xFu) != 0;
      mine[(tile * kCols + col) * (kTileRows + 1) + row] = is_nan ? bits_float(kFloatNan) : sums[tile][i];
    }
  }
  __syncthreads();

  const auto total = [&](int tile, int col, int row) {
    float sum = 0.0f;
    for (int w = 0; w < warps; ++w)
      sum += partial[w * kPartial + (tile * kCols + col) * (kTileRows + 1) + row];
    return sum * Fragment<T>::kUnscale;
  };
  const int outputs = (paired ? 1 : kTiles) * args.m * kTileRows;
  for (int i = static_cast<int>(threadIdx.x); i < outputs; i += static_cast<int>(blockDim.x)) {
    const int row = i % kTileRows, col = i / kTileRows % args.m, tile = i / kTileRows / args.m;
    const int out_row = first_row + tile * kTileRows + row;
    if (out_row >= rows) continue;
    const PackedLinear& w = args.weight[which];
    const float value = total(tile, col, row) * w.alpha;
    if (paired) {
      if constexpr (kTiles == 2)
        store_gated<T>(args, col, out_row, value, total(1, col, row) * args.weight[1].alpha);
    } else {
      store_product<T>(args, w, col, out_row, value);
    }
  }
}

}  // namespace tetrad::nvfp4::cuda

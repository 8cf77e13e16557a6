// The kernel of packed_linear: a block of warps computes kTiles tiles of 16 rows of the weights against all
// rows of x. Each warp takes every W-th chunk of 128 columns, so that the block reads whole lines, keeps
// kDepth chunks in flight in registers, and the partial sums of the warps meet once in shared memory, added
// in the order of the warps.
#pragma once

#include <tetrad/nvfp4/cuda/packed_linear.h>

#include <type_traits>

#include "nvfp4/cuda/packed_plan.h"

namespace tetrad::nvfp4::cuda {

inline constexpr int kTileRows = 16;

struct PackedLinearArgs {
  const void* x = nullptr;
  int m = 0;
  bool x_vector = false;  // x and its rows are 16-byte aligned
  bool float_out = false;
  PackedEpilogue epilogue = PackedEpilogue::store;
  int count = 0;
  int k = 0;
  int k_padded = 0;
  std::int64_t x_stride = 0;
  PackedLinear weight[kMaxPackedGroup];
  int first_block[kMaxPackedGroup] = {};  // of the grid
};

// Weights are read once: past the first-level cache.
__device__ inline uint4 load_stream(const std::uint8_t* p) {
  uint4 v;
  asm("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
      : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
      : "l"(p));
  return v;
}

template <class T>
__device__ inline void mma(float (&c)[4], std::uint32_t a0, std::uint32_t a1, std::uint32_t a2,
                           std::uint32_t a3, std::uint32_t b0, std::uint32_t b1) {
  if constexpr (std::is_same_v<T, Bf16>) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
        "{%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
  } else {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
        "{%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
  }
}

// What a lane holds of one row in one chunk: 32 codes and their two block scales.
template <bool kLo>
struct RowPiece {
  std::uint32_t hi[4];
  std::uint32_t lo[kLo ? 4 : 1];
  std::uint32_t scales;  // the first in the low byte
};

__device__ inline void put(const uint4 v, std::uint32_t (&words)[4]) {
  words[0] = v.x;
  words[1] = v.y;
  words[2] = v.z;
  words[3] = v.w;
}

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

// Elements [k, k + 32) of a row of x as sixteen pairs in the order of activation_pairs; zero from `cols` on.
template <class T>
__device__ inline void load_x(const T* row, int k, int cols, bool vector, std::uint32_t (&pairs)[4][4]) {
#pragma unroll
  for (int word = 0; word < 4; ++word) {
    std::uint32_t x[4];
    const int at = k + 8 * word;
    if (vector && at + 8 <= cols) {
      put(__ldg(reinterpret_cast<const uint4*>(row + at)), x);
    } else {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const std::uint32_t even = at + 2 * i < cols ? row[at + 2 * i].bits : 0u;
        const std::uint32_t odd = at + 2 * i + 1 < cols ? row[at + 2 * i + 1].bits : 0u;
        x[i] = even | (odd << 16);
      }
    }
    activation_pairs(x, pairs[word]);
  }
}

// One word of eight codes of rows g and g + 8 against the matching columns of x: two mma for each eight rows
// of x.
template <class T, bool kLo, int kBatches>
__device__ inline void multiply(const RowPiece<kLo> (&rows)[2], const std::uint32_t (&x)[kBatches][4][4],
                                float (&sums)[kBatches][4]) {
  std::uint32_t scale[2][2], quarter[2][2];
#pragma unroll
  for (int r = 0; r < 2; ++r) {
#pragma unroll
    for (int b = 0; b < 2; ++b) {
      const std::uint32_t code = (rows[r].scales >> (8 * b)) & 0xFFu;
      scale[r][b] = scale_pair<T>(code);
      if constexpr (kLo) quarter[r][b] = scale_pair<T>(code, 0.25f * Fragment<T>::kScaleUp);
    }
  }
#pragma unroll
  for (int word = 0; word < 4; ++word) {
    std::uint32_t a[2][4];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      if constexpr (kLo)
        weight_pairs<T>(rows[r].hi[word], rows[r].lo[word], scale[r][word / 2], quarter[r][word / 2], a[r]);
      else
        weight_pairs<T>(rows[r].hi[word], scale[r][word / 2], a[r]);
    }
#pragma unroll
    for (int b = 0; b < kBatches; ++b) {
      mma<T>(sums[b], a[0][0], a[1][0], a[0][1], a[1][1], x[b][word][0], x[b][word][1]);
      mma<T>(sums[b], a[0][2], a[1][2], a[0][3], a[1][3], x[b][word][2], x[b][word][3]);
    }
  }
}

template <class T>
__device__ inline float rounded(float v) {
  return to_float(from_float<T>(v));
}

template <class T>
__device__ inline float silu(float g) {
  return rounded<T>(g / (1.0f + expf(-g)));
}

// Registers for three blocks of eight warps on a multiprocessor, or two where more has to be held.
template <int kBatches, bool kLo>
inline constexpr int kBlocksHeld = kBatches == 1 && !kLo ? 3 : 2;

template <class T, int kBatches, int kTiles, bool kWide, bool kLo>
__global__ void __launch_bounds__(kMaxPackedWarps * 32, kBlocksHeld<kBatches, kLo>)
    packed_linear_kernel(const __grid_constant__ PackedLinearArgs args) {
  constexpr int kDepth = kTiles == 1 && !kLo ? 2 : 1;
  constexpr int kCols = 8 * kBatches;
  constexpr int kPartial = kTiles * kCols * (kTileRows + 1);  // padded against bank conflicts
  extern __shared__ float partial[];                          // [warps][tile][col of x][row of the tile + 1]

  const int warps = static_cast<int>(blockDim.x) / 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int g = lane / 4, t = lane % 4;

  // Which weight, and which of its rows. Gate and up run side by side: tile 0 is gate's, tile 1 up's.
  const bool paired = args.epilogue == PackedEpilogue::silu_mul;
  int which = 0;
  if (!paired) {
    while (which + 1 < args.count && static_cast<int>(blockIdx.x) >= args.first_block[which + 1]) ++which;
  }
  const int block = static_cast<int>(blockIdx.x) - args.first_block[which];
  const int first_row = block * kTileRows * (paired ? 1 : kTiles);
  const int rows = static_cast<int>(args.weight[which].rows);

  std::uint32_t row_at[kTiles][2];  // byte of the lane's first code in rows g and g + 8
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int row = first_row + (paired ? 0 : tile * kTileRows) + g + 8 * r;
      // A row that the weight does not have repeats the last one and is not stored.
      row_at[tile][r] =
          static_cast<std::uint32_t>(min(row, rows - 1)) * static_cast<std::uint32_t>(args.k_padded / 2) +
          static_cast<std::uint32_t>(t * kLaneCols / 2);
    }
  }

  const int chunks = (args.k_padded + kChunkCols - 1) / kChunkCols;
  RowPiece<kLo> stage[kDepth][kTiles][2];
  float sums[kTiles][kBatches][4] = {};

  const auto fetch = [&](int chunk, RowPiece<kLo>(&to)[kTiles][2]) {
    const int left = args.k_padded - (chunk * kChunkCols + t * kLaneCols);
    const std::uint32_t at = static_cast<std::uint32_t>(chunk * (kChunkCols / 2));
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) {
      const PackedLinear& w = args.weight[paired ? tile : which];
      load_piece<kWide, kLo>(w, row_at[tile][0] + at, left, to[tile][0]);
      load_piece<kWide, kLo>(w, row_at[tile][1] + at, left, to[tile][1]);
    }
  };

#pragma unroll
  for (int d = 0; d < kDepth; ++d) {
    const int chunk = warp + d * warps;
    if (chunk < chunks) fetch(chunk, stage[d]);
  }
  for (int base = warp; base < chunks; base += kDepth * warps) {
#pragma unroll
    for (int d = 0; d < kDepth; ++d) {
      const int chunk = base + d * warps;
      if (chunk < chunks) {
        std::uint32_t pairs[kBatches][4][4];
#pragma unroll
        for (int b = 0; b < kBatches; ++b) {
          const int row = g + 8 * b;
          const bool mine = row < args.m;  // rows that x does not have: no columns, hence zeros
          load_x(static_cast<const T*>(args.x) + (mine ? row : 0) * args.x_stride,
                 chunk * kChunkCols + t * kLaneCols, mine ? args.k : 0, args.x_vector, pairs[b]);
        }
#pragma unroll
        for (int tile = 0; tile < kTiles; ++tile)
          multiply<T, kLo, kBatches>(stage[d][tile], pairs, sums[tile]);
        const int next = chunk + kDepth * warps;
        if (next < chunks) fetch(next, stage[d]);
      }
    }
  }

  float* mine = partial + warp * kPartial;
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile) {
#pragma unroll
    for (int b = 0; b < kBatches; ++b) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int col = 8 * b + 2 * t + i % 2, row = g + 8 * (i / 2);
        mine[(tile * kCols + col) * (kTileRows + 1) + row] = sums[tile][b][i];
      }
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
    const std::int64_t at = col * w.y_stride + out_row;
    const float value = total(tile, col, row) * w.alpha;
    if (paired) {
      if constexpr (kTiles == 2) {
        const float up = total(1, col, row) * args.weight[1].alpha;
        static_cast<T*>(w.y)[at] = from_float<T>(silu<T>(rounded<T>(value)) * rounded<T>(up));
      }
    } else if (args.float_out) {
      static_cast<float*>(w.y)[at] = value;
    } else if (args.epilogue == PackedEpilogue::add) {
      T* y = static_cast<T*>(w.y) + at;
      *y = from_float<T>(rounded<T>(value) + to_float(*y));
    } else {
      static_cast<T*>(w.y)[at] = from_float<T>(value);
    }
  }
}

}  // namespace tetrad::nvfp4::cuda

// The kernel of packed_linear that streams weights through shared memory: some warps keep a ring of stages
// filled, so that far more bytes are on their way than registers would hold, groups of warps multiply, and
// one warp adds the partial sums of a tile and stores. None of them waits for another but through barriers of
// the ring, so tiles overlap; the ring begins to fill before the kernel waits for the one that computes x
// (early_launch.h). ring_plan.h has the order of things. Each warp keeps its columns of x in registers for
// all rows of the block.
#pragma once

#include <tetrad/nvfp4/cuda/early_launch.h>

#include "nvfp4/cuda/packed_common.cuh"
#include "nvfp4/cuda/pipe.cuh"
#include "nvfp4/cuda/ring_plan.h"
#include "nvfp4/cuda/tensor_core.cuh"

namespace tetrad::nvfp4::cuda {

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1200
// sm_12x: 99 KB of shared memory a block, 64 K registers, and neither wgmma nor anything else of sm_90a
// alone, which the assembler sees to.
static_assert(kSmallShared <= 101376 && RingPlan{}.shared <= kSmallShared);
#endif

struct PackedRingArgs {
  PackedLinearArgs linear;
  RingShape shape;
  RingLayout layout;
  int rows = 0;  // of the launch
  int producers = 1;
};

// The barriers of a block. A stage is full when its bytes are there, empty when every warp of a group has
// read it; a slot is summed when every warp of a group has left its sums, free when they are added up.
struct RingBarriers {
  SharedAddress base;
  __device__ SharedAddress full(int stage) const { return base + kBarrierBytes * stage; }
  __device__ SharedAddress empty(int stage) const { return full(kRingMaxStages + stage); }
  __device__ SharedAddress summed(int slot) const { return full(2 * kRingMaxStages + slot); }
  __device__ SharedAddress free(int slot) const { return full(2 * kRingMaxStages + kRingMaxSlots + slot); }
};

__device__ inline void init_ring(const RingBarriers& bars, const PackedRingArgs& args) {
  for (int i = 0; i < args.layout.stages; ++i) {
    barrier_init(bars.full(i), args.producers);
    barrier_init(bars.empty(i), args.shape.warps);
  }
  for (int i = 0; i < args.layout.slots; ++i) {
    barrier_init(bars.summed(i), args.shape.warps);
    barrier_init(bars.free(i), 1);
  }
  barriers_ready();
}

// Fills a stage with a piece: all lanes of a producer, each producer its share of the rows. Whole rows, which
// lie one behind another, are two copies: every copy takes its warp some dozens of cycles.
__device__ inline void fill_stage(const PackedRingArgs& args, const RingPiece& piece, SharedAddress stage,
                                  SharedAddress full, int producer) {
  const RingShape& shape = args.shape;
  const PackedLinear& w = args.linear.weight[piece.weight];
  const int width = shape.units_of(piece.slab);
  const std::size_t first = static_cast<std::size_t>(piece.row) * static_cast<std::size_t>(shape.units) +
                            static_cast<std::size_t>(piece.slab * shape.warps);
  constexpr int kCodes = kUnitCols / 2, kScales = kUnitCols / 16;
  const std::uint8_t* codes = w.codes + first * kCodes;
  const std::uint8_t* scales = w.scales + first * kScales;
  if (shape.slabs == 1) {
    const int units = piece.rows * width;
    barrier_arrive_expecting(full, static_cast<std::uint32_t>(units * (kCodes + kScales)));
    copy_bulk(stage, codes, static_cast<std::uint32_t>(units * kCodes), full);
    copy_bulk(stage + shape.scales_at(), scales, static_cast<std::uint32_t>(units * kScales), full);
    return;
  }
  const int mine = (piece.rows - producer + args.producers - 1) / args.producers;
  barrier_arrive_expecting(full, static_cast<std::uint32_t>(mine * width * (kCodes + kScales)));
#pragma unroll 4
  for (int row = producer; row < piece.rows; row += args.producers) {
    copy_bulk(stage + row * shape.code_stride(), codes + static_cast<std::size_t>(row * shape.units) * kCodes,
              static_cast<std::uint32_t>(width * kCodes), full);
    copy_bulk(stage + shape.scales_at() + row * shape.scale_stride(),
              scales + static_cast<std::size_t>(row * shape.units) * kScales,
              static_cast<std::uint32_t>(width * kScales), full);
  }
}

// A lane's 64 columns of one row of x: eight words of pairs.
struct RingX {
  std::uint32_t pairs[8][4];
};

// All eight loads are on their way before the first is needed: one after another they would take longer than
// the product of a tile.
template <class T>
__device__ inline void load_ring_x(const PackedLinearArgs& args, int unit, int lane, RingX& x) {
  const int row = lane / 4, col = unit * kUnitCols + lane % 4 * (kUnitCols / 4);
  const T* from = static_cast<const T*>(args.x) + row * args.x_stride + col;
  uint4 raw[8];
#pragma unroll
  for (int word = 0; word < 8; ++word) raw[word] = make_uint4(0, 0, 0, 0);  // rows that x does not have
  if (row < args.m) {
    if (args.x_vector) {
#pragma unroll
      for (int word = 0; word < 8; ++word) raw[word] = *reinterpret_cast<const uint4*>(from + 8 * word);
    } else {
      const auto two = [&](int i) {
        return from[i].bits | static_cast<std::uint32_t>(from[i + 1].bits) << 16;
      };
#pragma unroll
      for (int i = 0; i < 64; i += 8) raw[i / 8] = make_uint4(two(i), two(i + 2), two(i + 4), two(i + 6));
    }
  }
#pragma unroll
  for (int word = 0; word < 8; ++word) {
    std::uint32_t in_order[4];
    put(raw[word], in_order);
    activation_pairs(in_order, x.pairs[word]);
  }
}

// What a lane reads of a stage: 64 codes of rows g and g + 8 of the tile, and their block scales.
struct RingWords {
  uint4 codes[2][2];  // [row][half]
  std::uint32_t scales[2];
};

__device__ inline std::uint32_t word_of(const uint4& v, int i) {
  return i == 0 ? v.x : (i == 1 ? v.y : (i == 2 ? v.z : v.w));
}

// The product of a unit, the weight as the operand of sixteen rows: sums of the tile's row g (0, 1) or g + 8
// (2, 3) with x row 2 t + i % 2. kHalves 1: the tile has no rows from 8 on. Two chains of sums, so that a
// product waits less for the one before.
template <class T, int kHalves>
__device__ inline void multiply_unit(const RingWords& words, const RingX& x, const Moves& by, int g,
                                     float (&sums)[4]) {
  float chain[2][4] = {};
  std::uint32_t scales[2][2];  // of blocks 0 and 1, 2 and 3
#pragma unroll
  for (int r = 0; r < kHalves; ++r) {
#pragma unroll
    for (int i = 0; i < 2; ++i) scales[r][i] = scale_halves<T>(words.scales[r], i);
  }
#pragma unroll
  for (int word = 0; word < 8; ++word) {
    std::uint32_t pairs[2][4] = {};
#pragma unroll
    for (int r = 0; r < kHalves; ++r) {
      const std::uint32_t scale = half_twice(scales[r][word / 4], word / 2 % 2);
      weight_pairs<T>(word_of(words.codes[r][word / 4], word % 4), scale, by, pairs[r]);
    }
#pragma unroll
    for (int c = 0; c < 2; ++c)
      mma<T>(chain[c], pairs[0][2 * c], pairs[1][2 * c], pairs[0][2 * c + 1], pairs[1][2 * c + 1],
             x.pairs[word][2 * c], x.pairs[word][2 * c + 1]);
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) sums[i] = chain[0][i] + chain[1][i];
  std::uint32_t flags[2];
#pragma unroll
  for (int r = 0; r < 2; ++r)
    flags[r] = (words.scales[r] | (words.scales[r] + 0x01010101u)) & 0x80808080u;  // see scale_flags
  if (__any_sync(0xFFFFFFFFu, (flags[0] | flags[1]) != 0)) {
    for (int r = 0; r < 2; ++r) {
      const unsigned bad = __ballot_sync(0xFFFFFFFFu, flags[r] != 0);
      if ((bad >> (4 * g) & 0xFu) != 0) sums[2 * r] = sums[2 * r + 1] = bits_float(kFloatNan);
    }
  }
}

template <class T>
__global__ void __launch_bounds__((kRingMaxWarps + kRingMaxProducers + 1) * 32, 1)
    packed_ring_kernel(const __grid_constant__ PackedRingArgs args) {
  extern __shared__ uint4 ring_shared[];
  let_next_start();
  const SharedAddress shared = shared_address(ring_shared);
  const RingBarriers bars{shared};
  const SharedAddress stages = shared + args.layout.stages_at, sums = shared + args.layout.sums_at;
  const int stage_bytes = args.shape.stage_bytes();

  const PackedLinearArgs& linear = args.linear;
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int workers = args.layout.groups * args.shape.warps;
  const bool paired = linear.epilogue == PackedEpilogue::silu_mul;
  const int m = linear.m, slot_bytes = 4 * ring_slot_floats(args.shape, m);
  const RingRows rows = ring_rows(static_cast<int>(blockIdx.x), static_cast<int>(gridDim.x), args.rows);
  if (threadIdx.x == 0) init_ring(bars, args);
  __syncthreads();

  RingIndex stage;
  if (warp > workers) {  // fills; reads nothing that another kernel writes
    const int producer = __shfl_sync(0xFFFFFFFFu, warp - workers - 1, 0);  // the same for the compiler, too
    walk_ring(rows, linear.first, linear.count, paired, args.layout.slots, args.shape.slabs,
              [&](const RingPiece& piece) {
                if (stage.round > 0) barrier_wait(bars.empty(stage.at), (stage.round - 1) & 1);
                __syncwarp();
                fill_stage(args, piece, stages + stage.at * stage_bytes, bars.full(stage.at), producer);
                stage.next(args.layout.stages);
              });
    wait_for_previous();
  } else if (warp == workers) {  // adds up and stores
    wait_for_previous();
    walk_ring(rows, linear.first, linear.count, paired, args.layout.slots, 1, [&](const RingPiece& piece) {
      if (paired && piece.weight == 0) return;  // with its second half
      barrier_wait(bars.summed(piece.slot), piece.round & 1);
      if (paired) barrier_wait(bars.summed(piece.slot - 1), piece.round & 1);
      for (int i = lane; i < kRingRows * m; i += 32) {
        const int row = i % kRingRows, col = i / kRingRows;
        const auto total = [&](int slot) {
          float sum = 0.0f;
          for (int w = 0; w < args.shape.warps; ++w)
            sum += load_shared_float(sums + slot * slot_bytes + 4 * ((w * m + col) * kSumStride + row));
          return sum * Fragment<T>::kUnscale;
        };
        if (row >= piece.rows) continue;
        const PackedLinear& w = linear.weight[piece.weight];
        const float value = total(piece.slot) * w.alpha;
        if (paired)
          store_gated<T>(linear, col, piece.row + row, total(piece.slot - 1) * linear.weight[0].alpha, value);
        else
          store_product<T>(linear, w, col, piece.row + row, value);
      }
      __syncwarp();
      if (lane == 0) {
        barrier_arrive(bars.free(piece.slot));
        if (paired) barrier_arrive(bars.free(piece.slot - 1));
      }
    });
  } else {  // multiply
    const int group = warp / args.shape.warps, unit = warp % args.shape.warps;
    const int g = lane / 4, t = lane % 4;
    const SharedAddress codes = stages + g * args.shape.code_stride() + unit * (kUnitCols / 2) + t * 32;
    const SharedAddress scales =
        stages + args.shape.scales_at() + g * args.shape.scale_stride() + unit * (kUnitCols / 16) + t * 4;
    const SharedAddress mine = sums + 4 * ((unit * m + 2 * t) * kSumStride + g);
    const int slabs = args.shape.slabs, slots = args.layout.slots;
    const int pieces = ring_pieces(rows, linear.first, linear.count, paired);
    const std::uint32_t halves = ring_half_tiles(rows, linear.first, linear.count);
    RingX x;
    wait_for_previous();
    for (int begin = 0, round = 0; begin < pieces; begin += slots, ++round) {
      const int some = min(slots, pieces - begin);
      for (int slab = 0; slab < slabs; ++slab) {
        const bool busy = unit < args.shape.units_of(slab);
        if (busy && (slabs > 1 || round == 0))
          load_ring_x<T>(linear, slab * args.shape.warps + unit, lane, x);
        for (int slot = 0; slot < some; ++slot, stage.next(args.layout.stages)) {
          if ((slot & (args.layout.groups - 1)) != group) continue;
          barrier_wait(bars.full(stage.at), stage.round & 1);
          const int at = stage.at * stage_bytes;
          RingWords words;
#pragma unroll
          for (int r = 0; r < 2; ++r) {
            const SharedAddress row = codes + at + 8 * r * args.shape.code_stride();
            words.codes[r][0] = load_shared16(row);
            words.codes[r][1] = load_shared16(row + 16);
            words.scales[r] = load_shared4(scales + at + 8 * r * args.shape.scale_stride());
          }
          __syncwarp();
          if (lane == 0) barrier_arrive(bars.empty(stage.at));
          if (slab == 0 && round > 0) barrier_wait(bars.free(slot), (round - 1) & 1);
          if (busy) {
            float product[4];
            if (is_half_tile(halves, (begin + slot) >> static_cast<int>(paired)))
              multiply_unit<T, 1>(words, x, linear.moves, g, product);
            else
              multiply_unit<T, 2>(words, x, linear.moves, g, product);
            const SharedAddress to = mine + slot * slot_bytes;
#pragma unroll
            for (int i = 0; i < 4; ++i) {
              if (2 * t + i % 2 < m) {
                const SharedAddress sum = to + 4 * (i % 2 * kSumStride + 8 * (i / 2));
                store_shared_float(sum, (slab == 0 ? 0.0f : load_shared_float(sum)) + product[i]);
              }
            }
          }
          if (slab + 1 == slabs) {
            __syncwarp();
            if (lane == 0) barrier_arrive(bars.summed(slot));
          }
        }
      }
    }
  }
}

}  // namespace tetrad::nvfp4::cuda

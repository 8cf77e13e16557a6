// How the packed product streams weights through a ring in shared memory: which rows a block multiplies, in
// which order its pieces come, and where they lie. For host and device, so that the order in which one warp
// fills the ring and others empty it is tested without a device.
//
// A block takes an equal share of all rows of the launch, to the row. Its pieces are tiles of up to 16 rows
// times a slab of columns; each warp of a group owns kUnitCols columns of the slab, for every tile. The slab
// is a function of k alone: it decides the order of the sums, and nothing else here does.
#pragma once

#include <tetrad/nvfp4/half.h>

#include <algorithm>
#include <cstdint>

namespace tetrad::nvfp4::cuda {

inline constexpr int kRingRows = 16;   // of a tile
inline constexpr int kUnitCols = 256;  // of a warp in a slab: 64 for each of four lanes
inline constexpr int kRingMaxStages = 32;
inline constexpr int kRingMaxSlots = 8;
inline constexpr int kSmallShared = 99 * 1024;  // a block's, on sm_86, sm_89 and sm_12x

inline constexpr int kRingX = 8;             // rows of x in a launch
inline constexpr int kRingMaxWarps = 20;     // that multiply
inline constexpr int kRingMaxProducers = 3;  // warps that copy

// What a plan chooses. No result depends on it, but for `warps` (see RingShape).
struct RingPlan {
  int warps = 16;             // at most, that share the columns of a tile
  int groups = 1;             // of warps at most, that take tiles in turn: 1, 2 or 4 (see ring_layout())
  int producers = 3;          // warps that copy where a row comes in several slabs, otherwise it is one
  int stages = 32;            // at most, as far as `shared` has room
  int slots = 4;              // of partial sums, even: tiles between the warps and the one that adds up
  int blocks = 1;             // on a multiprocessor
  int shared = kSmallShared;  // bytes that a block may take
};

static_assert(RingPlan{}.shared <= kSmallShared, "the default plan runs on every device");

// How the columns are shared out, and what a stage takes.
struct RingShape {
  int units = 0;  // of kUnitCols in a row
  int slabs = 0;
  int warps = 0;  // of a group = units of a full slab

  TETRAD_HD int units_of(int slab) const {
    const int left = units - slab * warps;
    return left < warps ? left : warps;
  }
  // From row to row of a stage. Whole rows lie as they do in the weight, so that one copy brings them all;
  // pieces of rows are 16 bytes further apart, in different banks.
  TETRAD_HD int gap() const { return slabs == 1 ? 0 : 16; }
  TETRAD_HD int code_stride() const { return warps * (kUnitCols / 2) + gap(); }
  TETRAD_HD int scale_stride() const { return warps * (kUnitCols / 16) + gap(); }
  TETRAD_HD int scales_at() const { return kRingRows * code_stride(); }
  TETRAD_HD int stage_bytes() const { return kRingRows * (code_stride() + scale_stride()); }
};

inline RingShape ring_shape(std::int64_t k, int max_warps) {
  RingShape shape;
  shape.units = static_cast<int>(k / kUnitCols);
  shape.slabs = (shape.units + max_warps - 1) / max_warps;
  shape.warps = shape.slabs == 0 ? 0 : (shape.units + shape.slabs - 1) / shape.slabs;
  return shape;
}

// Where things lie in a block's shared memory: barriers (two for each stage and each slot), stages, sums; and
// how many groups of warps share them.
struct RingLayout {
  int stages = 0, slots = 0, groups = 1, stages_at = 0, sums_at = 0, bytes = 0;
};
inline constexpr int kSumStride = kRingRows + 4;  // floats from x row to x row: eight of them in all banks
TETRAD_HD inline int ring_slot_floats(const RingShape& shape, int m) {
  return shape.warps * m * kSumStride;
}
inline RingLayout ring_layout(const RingPlan& plan, const RingShape& shape, int m, int shared) {
  RingLayout layout;
  layout.stages_at = (2 * (kRingMaxStages + kRingMaxSlots) * 8 + 127) / 128 * 128;
  int sums = 0;
  // Fewer slots before fewer than two stages.
  for (layout.slots = plan.slots;; layout.slots -= 2) {
    sums = layout.slots * ring_slot_floats(shape, m) * 4;
    layout.stages = std::clamp((shared - layout.stages_at - sums) / shape.stage_bytes(), 0,
                               std::min(plan.stages, kRingMaxStages));
    if (layout.stages >= 2 || layout.slots <= 2) break;
  }
  // Each stage belongs to one group in every round: a group tells the rounds of a stage by one bit, and would
  // take one that it did not wait for for the one that it waits for. So groups divide slots and stages, and
  // pieces come in whole turns of the groups, but for the last.
  layout.groups = shape.slabs == 1 ? plan.groups : 1;
  while (layout.groups > 1 && (layout.groups * shape.warps > kRingMaxWarps ||
                               layout.slots % layout.groups != 0 || layout.stages < 2 * layout.groups))
    layout.groups /= 2;
  layout.stages -= layout.stages % layout.groups;
  layout.sums_at = layout.stages_at + layout.stages * shape.stage_bytes();
  layout.bytes = layout.sums_at + sums;
  return layout;
}

// Rows of the launch's weights one after another (of the first alone where two go side by side).
struct RingRows {
  int begin = 0, end = 0;
};
TETRAD_HD inline RingRows ring_rows(int block, int blocks, int rows) {
  return {static_cast<int>(static_cast<std::int64_t>(rows) * block / blocks),
          static_cast<int>(static_cast<std::int64_t>(rows) * (block + 1) / blocks)};
}

// A tile times a slab. The slot takes the tile's sums; round counts its uses.
struct RingPiece {
  int weight = 0;  // of the launch
  int row = 0;     // of that weight, the tile's first
  int rows = 0;    // of the tile, 1 to kRingRows
  int slab = 0, slot = 0, round = 0;
};

// Calls piece(RingPiece) for everything a block multiplies, in the order of the ring: as many tiles as there
// are slots, slab by slab. first[i] is the row of the launch where weight i of `count` begins. Paired: the
// tile of weight 0 and the same of weight 1 follow one another and take two slots.
template <class F>
TETRAD_HD inline void walk_ring(const RingRows& block, const int* first, int count, bool paired, int slots,
                                int slabs, F&& piece) {
  RingPiece p;
  for (int begin = block.begin; begin < block.end; ++p.round) {
    int at = begin;
    for (p.slab = 0; p.slab < slabs; ++p.slab) {
      at = begin;
      int which = 0, again = 0;  // again: 1 for the second of a pair
      for (p.slot = 0; p.slot < slots && at < block.end; ++p.slot) {
        while (which + 1 < count && at >= first[which + 1]) ++which;
        int end = block.end;
        if (which + 1 < count && first[which + 1] < end) end = first[which + 1];
        p.weight = which + again;
        p.row = at - first[which];
        p.rows = end - at < kRingRows ? end - at : kRingRows;
        piece(p);
        if (paired) again ^= 1;
        if (again == 0) at += p.rows;
      }
    }
    begin = at;
  }
}

// How many rows of weight i a block has.
TETRAD_HD inline int ring_share(const RingRows& block, const int* first, int count, int i) {
  const int begin = first[i] > block.begin ? first[i] : block.begin;
  const int end = i + 1 < count && first[i + 1] < block.end ? first[i + 1] : block.end;
  return end > begin ? end - begin : 0;
}

// How many pieces of one slab walk_ring() makes.
TETRAD_HD inline int ring_pieces(const RingRows& block, const int* first, int count, bool paired) {
  int tiles = 0;
  for (int i = 0; i < count; ++i) tiles += (ring_share(block, first, count, i) + kRingRows - 1) / kRingRows;
  return paired ? 2 * tiles : tiles;
}

// Which tiles of a block have at most half of kRingRows rows: the last of each weight may. A byte for each of
// up to four, with the tile's number (a pair of tiles has one) plus one; a block with more than 254 tiles
// says nothing about the later ones.
TETRAD_HD inline std::uint32_t ring_half_tiles(const RingRows& block, const int* first, int count) {
  std::uint32_t halves = 0;
  int tiles = 0;
  for (int i = 0; i < count; ++i) {
    const int rows = ring_share(block, first, count, i), last = (rows - 1) % kRingRows + 1;
    tiles += (rows + kRingRows - 1) / kRingRows;
    if (rows > 0 && last <= kRingRows / 2 && tiles < 256)
      halves |= static_cast<std::uint32_t>(tiles) << (8 * i);
  }
  return halves;
}
TETRAD_HD inline bool is_half_tile(std::uint32_t halves, int tile) {
  const std::uint32_t n = static_cast<std::uint32_t>(tile) + 1;
  return (halves & 0xFFu) == n || (halves >> 8 & 0xFFu) == n || (halves >> 16 & 0xFFu) == n ||
         halves >> 24 == n;
}

// A place in a ring of n: which, and how often the ring has come round.
struct RingIndex {
  int at = 0, round = 0;
  TETRAD_HD void next(int n) {
    if (++at == n) {
      at = 0;
      ++round;
    }
  }
};

}  // namespace tetrad::nvfp4::cuda

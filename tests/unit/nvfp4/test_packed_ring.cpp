// The kernel of packed_ring.cuh itself, lane by lane on the CPU (emulated/device.h): that its warps fill,
// empty and add up the ring without losing a piece or waiting for ever, in whatever order they run; and that
// its order of pieces covers every weight once.
#include "emulated/device.h"
// The header above comes first: it has the words that the kernel is written in.
#include <gtest/gtest.h>
#include <tetrad/nvfp4/e2m1.h>
#include <tetrad/nvfp4/packed_tensor.h>

#include <map>

#include "nvfp4/cuda/packed_plan.h"
#include "nvfp4/cuda/packed_ring.cuh"

namespace tetrad::nvfp4::cuda {

alignas(128) uint4 ring_shared[emulated::kSharedBytes / sizeof(uint4)];
inline unsigned char* shared_bytes() {
  return reinterpret_cast<unsigned char*>(ring_shared);
}

namespace {

// A weight in 16-byte aligned memory.
struct Weight {
  std::vector<uint4> codes, scales;
  std::vector<float> y;
  std::vector<Bf16> half_y;

  Weight(std::mt19937& rng, int rows, int k) : codes(bytes(rows, k / 2)), scales(bytes(rows, k / 16)) {
    for (std::uint8_t* p = code(); p < code() + static_cast<std::size_t>(rows) * k / 2; ++p)
      *p = static_cast<std::uint8_t>(rng());
    for (std::uint8_t* p = scale(); p < scale() + static_cast<std::size_t>(rows) * k / 16; ++p)
      *p = static_cast<std::uint8_t>(0x30 + rng() % 16);
  }
  static std::size_t bytes(int rows, int row) { return static_cast<std::size_t>(rows) * row / 16 + 1; }
  std::uint8_t* code() { return reinterpret_cast<std::uint8_t*>(codes.data()); }
  std::uint8_t* scale() { return reinterpret_cast<std::uint8_t*>(scales.data()); }
};

struct Case {
  std::vector<int> rows;
  int k, m, blocks;
  RingPlan plan;
  PackedEpilogue epilogue = PackedEpilogue::store;
};

template <class T>
void run(const Case& c, unsigned seed) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal;
  const bool paired = c.epilogue == PackedEpilogue::silu_mul;
  // Aligned rows of x are loaded another way than others.
  const int stride = c.k + (seed % 2 == 0 ? 3 : 0);
  std::vector<T> x(static_cast<std::size_t>(c.m * stride));
  for (T& v : x) v = from_float<T>(normal(rng));
  std::vector<Weight> weights;
  for (const int rows : c.rows) {
    weights.emplace_back(rng, rows, c.k);
    weights.back().y.assign(static_cast<std::size_t>(c.m * (rows + 1)), 7.0F);
    weights.back().half_y.assign(static_cast<std::size_t>(c.m * (rows + 1)), to_bf16(7.0F));
  }
  PackedRingArgs args;
  PackedLinearArgs& linear = args.linear;
  linear.x = x.data();
  linear.m = c.m;
  linear.x_vector = stride % 8 == 0 && reinterpret_cast<std::uintptr_t>(x.data()) % 16 == 0;
  linear.moves = moves<T>();
  linear.float_out = !paired;
  linear.epilogue = c.epilogue;
  linear.count = paired ? 1 : static_cast<int>(c.rows.size());
  linear.k = linear.k_padded = c.k;
  linear.x_stride = stride;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    Weight& w = weights[i];
    void* y = paired ? static_cast<void*>(w.half_y.data()) : static_cast<void*>(w.y.data());
    linear.weight[i] = {w.code(), w.scale(), nullptr, 0.5F, c.rows[i], y, c.rows[i] + 1};
    if (static_cast<int>(i) < linear.count) {
      linear.first[i] = args.rows;
      args.rows += c.rows[i];
    }
  }
  args.shape = ring_shape(c.k, c.plan.warps);
  args.layout = ring_layout(c.plan, args.shape, c.m, c.plan.shared);
  args.producers = args.shape.slabs == 1 ? 1 : c.plan.producers;
  ASSERT_GE(args.layout.stages, 2);
  ASSERT_LE(static_cast<std::size_t>(args.layout.bytes), emulated::kSharedBytes);
  gridDim.x = static_cast<unsigned>(c.blocks);
  for (int b = 0; b < c.blocks; ++b) {
    std::memset(shared_bytes(), 0xFF, emulated::kSharedBytes);
    blockIdx.x = static_cast<unsigned>(b);
    emulated::block.run((args.layout.groups * args.shape.warps + args.producers + 1) * 32,
                        seed + static_cast<unsigned>(b), [&] { packed_ring_kernel<T>(args); });
  }

  const auto dot = [&](Weight& w, int row, int col) {
    double sum = 0.0;
    for (int i = 0; i < c.k; ++i) {
      const std::int64_t at = static_cast<std::int64_t>(row) * c.k + i;
      sum += static_cast<double>(e2m1_decode(e2m1_at(w.code(), at))) * e4m3_decode(w.scale()[at / 16]) *
             to_float(x[static_cast<std::size_t>(col * stride + i)]);
    }
    return 0.5 * sum;
  };
  for (std::size_t i = 0; i < (paired ? 1 : weights.size()); ++i) {
    for (int col = 0; col < c.m; ++col) {
      for (int row = 0; row <= c.rows[i]; ++row) {
        const std::size_t at = static_cast<std::size_t>(col * (c.rows[i] + 1) + row);
        const float got = paired ? to_float(weights[i].half_y[at]) : weights[i].y[at];
        if (row == c.rows[i]) {
          ASSERT_EQ(got, 7.0F) << "written past a row";
          continue;
        }
        double expected = dot(weights[i], row, col);
        if (paired) expected *= dot(weights[1], row, col) / (1.0 + std::exp(-expected));
        ASSERT_NEAR(got, expected, (paired ? 0.02 : 1e-4) * (1.0 + std::abs(expected)))
            << "weight " << i << ", row " << row << ", x row " << col;
      }
    }
  }
}

// warps, groups, producers, stages, slots, blocks, shared
TEST(PackedRing, EveryRoleKeepsStep) {
  const int small = kSmallShared;
  run<Bf16>({{61}, 2560, 1, 2, {}}, 1);
  run<Bf16>({{100}, 512, 3, 2, {10, 1, 1, 2, 4, 1, small}}, 2);
  run<Fp16>({{37}, 1536, 8, 1, {3, 1, 3, 2, 2, 1, small}}, 3);
  run<Bf16>({{70, 9, 30}, 1280, 7, 3, {3, 2, 2, 5, 4, 1, small}}, 4);
  run<Bf16>({{40}, 2816, 1, 1, {4, 2, 3, 3, 8, 1, small}}, 5);
  run<Fp16>({{1, 1, 1, 50}, 256, 5, 2, {}}, 6);
}

TEST(PackedRing, GateAndUpMeet) {
  run<Bf16>({{70, 70}, 1280, 2, 2, {5, 2, 1, 5, 4, 1, kSmallShared}, PackedEpilogue::silu_mul}, 7);
  run<Bf16>({{33, 33}, 768, 8, 1, {2, 1, 1, 3, 2, 1, kSmallShared}, PackedEpilogue::silu_mul}, 8);
}

// What one multiprocessor of an H100 does for the linears of Qwen3-4B, under their plan.
TEST(PackedRing, SharesOfQwen3) {
  run<Bf16>({{31, 8, 7}, 2560, 1, 1, plan_ring(768, 2560)}, 11);
  run<Bf16>({{20}, 4096, 1, 1, plan_ring(320, 4096)}, 12);
  run<Bf16>({{37, 37}, 2560, 1, 1, plan_ring(2432, 2560), PackedEpilogue::silu_mul}, 13);
  run<Bf16>({{20}, 9728, 2, 1, plan_ring(320, 9728)}, 14);
  run<Bf16>({{130}, 2560, 1, 1, plan_ring(18992, 2560)}, 15);
}

TEST(PackedRing, TheOrderOfPiecesCoversEveryRowOnce) {
  std::mt19937 rng(9);
  for (int round = 0; round < 300; ++round) {
    const bool paired = round % 3 == 0;
    const int count = paired ? 1 : 1 + static_cast<int>(rng() % 4), blocks = 1 + static_cast<int>(rng() % 9);
    const int slots = 2 * (1 + static_cast<int>(rng() % 4)), slabs = 1 + static_cast<int>(rng() % 3);
    int first[kMaxPackedGroup] = {}, rows[kMaxPackedGroup] = {}, total = 0;
    for (int i = 0; i < count; ++i) {
      first[i] = total;
      rows[i] = 1 + static_cast<int>(rng() % 150);
      total += rows[i];
    }
    std::map<std::vector<int>, int> seen;  // weight, row, slab
    for (int b = 0; b < blocks; ++b) {
      const RingRows mine = ring_rows(b, blocks, total);
      int pieces = 0, last_round = -1;
      const std::uint32_t halves = ring_half_tiles(mine, first, count);
      walk_ring(mine, first, count, paired, slots, slabs, [&](const RingPiece& p) {
        if (p.slab == 0) {
          ASSERT_EQ(is_half_tile(halves, paired ? pieces / 2 : pieces), p.rows <= kRingRows / 2);
          ++pieces;
        }
        ASSERT_LT(p.slot, slots);
        ASSERT_GE(p.rows, 1);
        ASSERT_LE(p.rows, kRingRows);
        ASSERT_GE(p.round, last_round);
        last_round = p.round;
        for (int r = 0; r < p.rows; ++r) ++seen[{p.weight, p.row + r, p.slab}];
      });
      ASSERT_EQ(pieces, ring_pieces(mine, first, count, paired));
    }
    std::size_t expected = 0;
    for (int i = 0; i < count; ++i)
      expected += static_cast<std::size_t>(rows[i]) * static_cast<std::size_t>(slabs * (paired ? 2 : 1));
    ASSERT_EQ(seen.size(), expected);
    for (const auto& [place, times] : seen) ASSERT_EQ(times, 1);
  }
}

// A group knows the rounds of a stage by their parity alone, so no stage may change its group.
TEST(PackedRing, AStageStaysWithItsGroup) {
  std::mt19937 rng(10);
  int shared = 0;  // cases with several groups
  for (int round = 0; round < 2000; ++round) {
    RingPlan plan;
    plan.warps = 1 + static_cast<int>(rng() % 20);
    plan.groups = 1 << rng() % 3;
    plan.stages = 2 + static_cast<int>(rng() % 31);
    plan.slots = 2 * (1 + static_cast<int>(rng() % 4));
    const RingShape shape = ring_shape(kUnitCols * (1 + static_cast<int>(rng() % 24)), plan.warps);
    const int m = 1 + static_cast<int>(rng() % kRingX), rows = 1 + static_cast<int>(rng() % 700);
    const RingLayout layout = ring_layout(plan, shape, m, kSmallShared);
    if (layout.stages < 2) continue;  // ring_takes() refuses it
    ASSERT_LE(layout.groups, plan.groups);
    ASSERT_LE(layout.groups * shape.warps, kRingMaxWarps);
    shared += layout.groups > 1 ? 1 : 0;
    const int first[] = {0};
    RingIndex stage;
    std::map<int, int> owner;
    walk_ring({0, rows}, first, 1, rng() % 2 == 0, layout.slots, shape.slabs, [&](const RingPiece& p) {
      const int group = p.slot & (layout.groups - 1);
      ASSERT_EQ(owner.emplace(stage.at, group).first->second, group) << "stage " << stage.at;
      stage.next(layout.stages);
    });
  }
  ASSERT_GT(shared, 100);
}

TEST(PackedRing, ColumnsAreSharedOutWhole) {
  for (std::int64_t k = kUnitCols; k <= 20480; k += kUnitCols) {
    for (const int warps : {1, 5, 10, 16, 20}) {
      const RingShape shape = ring_shape(k, warps);
      ASSERT_LE(shape.warps, warps);
      int units = 0;
      for (int slab = 0; slab < shape.slabs; ++slab) {
        ASSERT_GE(shape.units_of(slab), 1);
        units += shape.units_of(slab);
      }
      ASSERT_EQ(units * kUnitCols, k);
    }
    // The plan fits the devices that offer least (GB10), for any number of rows, and leaves the registers of
    // a multiprocessor to a second block of its size.
    for (const int row_tiles : {1, 768, 18992}) {
      const RingPlan plan = plan_ring(row_tiles, k);
      const RingShape shape = ring_shape(k, plan.warps);
      ASSERT_LE(plan.shared, kSmallShared);
      ASSERT_LE(plan.groups * shape.warps + (shape.slabs == 1 ? 1 : plan.producers) + 1, 12) << k;
      for (const int m : {1, kRingX}) {
        const RingLayout layout = ring_layout(plan, shape, m, kSmallShared);
        ASSERT_GE(layout.stages, 2) << k << " " << m;
        ASSERT_LE(layout.bytes, kSmallShared);
      }
    }
  }
}

}  // namespace
}  // namespace tetrad::nvfp4::cuda

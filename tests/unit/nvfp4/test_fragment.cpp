// The arithmetic of the packed CUDA product on the host: what a lane makes of codes, scales and x, and the
// assignment of columns to lanes, with the tensor core's mma.m16n8k16 written out from its documentation.
#include <gtest/gtest.h>
#include <tetrad/nvfp4/e2m1.h>
#include <tetrad/nvfp4/packed_tensor.h>
#include <tetrad/nvfp4/planes.h>
#include <tetrad/nvfp4/reference.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "nvfp4/cuda/block_codec.h"
#include "nvfp4/cuda/fragment.h"
#include "nvfp4/cuda/packed_plan.h"
#include "nvfp4/cuda/plane_pairs.h"
#include "nvfp4/cuda/tile_codec.h"

namespace tetrad::nvfp4::cuda {
namespace {

template <class T>
float half_of(std::uint32_t pair, int half) {
  T value;
  value.bits = static_cast<std::uint16_t>(pair >> (16 * half));
  return to_float(value);
}

template <class T>
class FragmentTest : public testing::Test {};
using Types = testing::Types<Bf16, Fp16>;
TYPED_TEST_SUITE(FragmentTest, Types);

// Every pair of codes at every place, under every block scale and the ends of the decode scales.
TYPED_TEST(FragmentTest, TwoPlanesInSixteenBitsAreDecodeBlockToTheBit) {
  using T = TypeParam;
  constexpr bool kWide = std::is_same_v<T, Bf16>;
  EXPECT_FALSE(takes_plane_unit<T>(kWide ? 0x1p-117f : 0x1p-15f));
  for (const float decode : {kWide ? 0x1p-116f : 0x1p-14f, 0x1p-9f, 1.0f, kWide ? 0x1p116f : 0x1p4f}) {
    ASSERT_TRUE(takes_plane_unit<T>(decode));
    for (unsigned scale = 0; scale < 256; ++scale) {
      if ((scale & 0x7Fu) == kE4m3Nan) continue;
      for (std::uint32_t first = 0; first < 256; first += 16) {
        BlockCodes planes[2];
        for (unsigned k = 0; k < 16; ++k) {
          const std::uint32_t both = first + (k * 7 + first / 16) % 16;  // all 256 in the end
          planes[0].word[k / 8] |= (both & 15u) << (4 * (k % 8));
          planes[1].word[k / 8] |= (both >> 4) << (4 * (k % 8));
        }
        float expected[16];
        decode_block(planes, static_cast<std::uint8_t>(scale), decode, expected);
        for (int half = 0; half < 2; ++half) {
          std::uint32_t words[4];
          decode_plane_words<T>(planes[0].word[half], planes[1].word[half],
                                plane_unit<T>(static_cast<std::uint8_t>(scale), decode), words);
          for (int k = 0; k < 8; ++k)
            ASSERT_EQ((words[k / 2] >> (16 * (k % 2))) & 0xFFFFu, from_float<T>(expected[8 * half + k]).bits)
                << "scale " << scale << ", codes from " << first << ", element " << 8 * half + k;
        }
      }
    }
  }
}

TYPED_TEST(FragmentTest, EveryCodeUnderEveryScaleIsExact) {
  using T = TypeParam;
  for (unsigned scale = 0; scale < kE4m3Nan; ++scale) {
    for (std::uint32_t code = 0; code < 16; ++code) {
      for (int i = 0; i < 8; ++i) {
        std::uint32_t pairs[4];
        weight_pairs<T>(code << (4 * i), scale_pair<T>(scale << 8 | 0x38u, 1), moves<T>(), pairs);
        for (int j = 0; j < 8; ++j) {
          const float expected =
              j == i ? e2m1_decode(code) * e4m3_decode(static_cast<std::uint8_t>(scale)) : 0.0f;
          ASSERT_EQ(half_of<T>(pairs[j % 4], j / 4) * Fragment<T>::kUnscale, expected)
              << "code " << code << " at " << i << ", read at " << j << ", scale " << scale;
        }
      }
    }
  }
}

TEST(Fragment, BadScalesAreFlagged) {
  for (std::uint32_t scales = 0; scales < 0x10000u; ++scales) {
    const bool bad = (scales & 0xFFu) >= kE4m3Nan || (scales >> 8) >= kE4m3Nan;
    ASSERT_EQ((scale_flags(scales) & kBadScale) != 0, bad) << scales;
  }
}

TYPED_TEST(FragmentTest, HiAndLoFoldWithOneRounding) {
  using T = TypeParam;
  for (std::uint32_t scale = 0; scale < 0x7F; ++scale) {
    for (std::uint32_t hi = 0; hi < 16; ++hi) {
      for (std::uint32_t lo = 0; lo < 16; ++lo) {
        std::uint32_t pairs[4];
        weight_pairs<T>(hi, lo, scale_pair<T>(scale, 0), scale_pair<T, true>(scale, 0), moves<T>(), pairs);
        const float sum = e2m1_decode(hi) + e2m1_decode(lo) / 4;
        const float exact = sum * e4m3_decode(static_cast<std::uint8_t>(scale)) / Fragment<T>::kUnscale;
        ASSERT_EQ(half_of<T>(pairs[0], 0), to_float(from_float<T>(exact))) << hi << " " << lo << " " << scale;
      }
    }
  }
}

// D = A * B + C as PTX defines the fragments: lane (g, t) holds A[g][2t..], A[g + 8][2t..], A[g][2t + 8..],
// A[g + 8][2t + 8..]; B[2t..][g], B[2t + 8..][g]; C[g][2t..], C[g + 8][2t..].
template <class T>
void mma(const std::uint32_t (&a)[32][4], const std::uint32_t (&b)[32][2], double (&c)[32][4]) {
  double left[16][16], right[16][8];
  for (int lane = 0; lane < 32; ++lane) {
    const int g = lane / 4, t = lane % 4;
    for (int h = 0; h < 2; ++h) {
      for (int i = 0; i < 4; ++i) left[g + 8 * (i % 2)][2 * t + h + 8 * (i / 2)] = half_of<T>(a[lane][i], h);
      for (int i = 0; i < 2; ++i) right[2 * t + h + 8 * i][g] = half_of<T>(b[lane][i], h);
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    const int g = lane / 4, t = lane % 4;
    for (int i = 0; i < 4; ++i) {
      for (int k = 0; k < 16; ++k) c[lane][i] += left[g + 8 * (i / 2)][k] * right[k][2 * t + i % 2];
    }
  }
}

TYPED_TEST(FragmentTest, AWarpComputesATile) {
  using T = TypeParam;
  constexpr int kCols = 2 * kChunkCols, kBatch = 16;
  std::mt19937 rng(5);
  std::normal_distribution<float> normal;
  std::vector<float> dense(kTileRows * kCols);
  for (float& v : dense) v = normal(rng) * 0.02f;
  const PackedTensor w = encode(dense.data(), kTileRows, kCols, kCols);
  std::vector<T> x(kBatch * kCols);
  for (T& v : x) v = from_float<T>(normal(rng));

  double sums[32][4] = {};
  for (int chunk = 0; chunk < kCols / kChunkCols; ++chunk) {
    for (int word = 0; word < 4; ++word) {
      std::uint32_t a[2][32][4], b[2][32][2];
      for (int lane = 0; lane < 32; ++lane) {
        const int g = lane / 4, t = lane % 4, k = chunk * kChunkCols + t * kLaneCols + 8 * word;
        std::uint32_t codes = 0, pairs[4];
        for (int i = 0; i < 4; ++i)
          codes |= static_cast<std::uint32_t>(w.codes[static_cast<std::size_t>(g * kCols / 2 + k / 2 + i)])
                   << (8 * i);
        weight_pairs<T>(codes, scale_pair<T>(w.scales[static_cast<std::size_t>((g * kCols + k) / 16)], 0),
                        moves<T>(), pairs);
        for (int j = 0; j < 4; ++j) b[j / 2][lane][j % 2] = pairs[j];
        for (int r = 0; r < 2; ++r) {
          std::uint32_t raw[4];
          for (int i = 0; i < 4; ++i) {
            const std::size_t at = static_cast<std::size_t>((g + 8 * r) * kCols + k + 2 * i);
            raw[i] = x[at].bits | static_cast<std::uint32_t>(x[at + 1].bits) << 16;
          }
          activation_pairs(raw, pairs);
          for (int j = 0; j < 4; ++j) a[j / 2][lane][r + 2 * (j % 2)] = pairs[j];
        }
      }
      mma<T>(a[0], b[0], sums);
      mma<T>(a[1], b[1], sums);
    }
  }
  std::vector<float> decoded(dense.size());
  dequantize_unscaled(w.codes.data(), w.scales.data(), kTileRows, kCols, decoded.data());
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 4; ++i) {
      const int col = lane / 4 + 8 * (i / 2), row = 2 * (lane % 4) + i % 2;
      double expected = 0.0;
      for (int k = 0; k < kCols; ++k)
        expected += static_cast<double>(decoded[static_cast<std::size_t>(row * kCols + k)]) *
                    to_float(x[static_cast<std::size_t>(col * kCols + k)]);
      ASSERT_NEAR(sums[lane][i] * Fragment<T>::kUnscale, expected, 1e-9 * (1.0 + std::abs(expected)));
    }
  }
}

TEST(BlockCodec, RoundsLikeThePlainEncoder) {
  std::vector<float> values;
  for (std::uint64_t bits = 0; bits < 0x7F800000u; bits += 12011)
    values.push_back(bits_float(static_cast<std::uint32_t>(bits)));
  for (const float tie : {0.25f, 0.75f, 1.25f, 1.75f, 2.5f, 3.5f, 5.0f, 6.0f, 7.0f, 8.0f}) {
    for (int step = -3; step <= 3; ++step)
      values.push_back(bits_float(float_bits(tie) + static_cast<std::uint32_t>(step)));
  }
  values.insert(values.end(), {0.0f, kFloatMax, bits_float(kFloatInf)});
  for (const float magnitude : values) {
    for (const float v : {magnitude, -magnitude}) {
      const std::uint32_t code = e2m1_encode(v);
      ASSERT_EQ(e2m1_round_magnitude(v), std::abs(e2m1_decode(code))) << v;
      ASSERT_EQ(e2m1_code_at_22(e2m1_round_magnitude(v)), (code & 7u) << 22) << v;
    }
  }
  std::mt19937 rng(41);
  std::normal_distribution<float> normal(0.0f, 3.0f);
  for (int round = 0; round < 1000; ++round) {
    float eight[8];
    std::uint32_t expected = 0;
    for (int i = 0; i < 8; ++i) {
      eight[i] = round % 7 == i ? -0.0f : normal(rng);
      expected |= static_cast<std::uint32_t>(e2m1_encode(eight[i] * 0.75f)) << (4 * i);
    }
    ASSERT_EQ(e2m1_magnitudes(eight, 0.75f) | e2m1_signs(eight), expected);
  }
}

template <class T>
class TileTest : public testing::Test {};
using TileTypes = testing::Types<float, Bf16, Fp16>;
TYPED_TEST_SUITE(TileTest, TileTypes);

// A tile as the CUDA quantiser's lanes share it, against the reference.
TYPED_TEST(TileTest, PiecesEncodeAsTheReferenceDoes) {
  using T = TypeParam;
  constexpr int kLanes = kTileLanes<T>, kCount = kPieceElements<T>;
  std::mt19937 rng(43);
  std::normal_distribution<float> normal(0.0f, 1.0f);
  const EncodeOptions options{Profile::te, GlobalRule::exact, BlockShape::tile16x16};
  for (int round = 0; round < 300; ++round) {
    std::vector<T> x(256);
    for (T& v : x) v = from_float<T>(normal(rng) * (round % 5 == 0 ? 1e-6f : 3.0f));
    if (round % 7 == 1) x[rng() % 256] = from_float<T>(bits_float(kFloatNan));
    if (round % 7 == 2) x[rng() % 256] = from_float<T>(-bits_float(kFloatInf));
    if (round % 7 == 3) x[rng() % 256] = from_float<T>(-0.0f);
    if (round % 7 == 4) x.assign(256, from_float<T>(0.0f));
    const GlobalScale g = global_scale(4.5f, options);
    std::vector<std::uint8_t> codes(128), scales(16);
    reference::quantize(x.data(), 16, 16, 16, g, options, codes.data(), scales.data());

    Piece pieces[16][kLanes];
    std::uint32_t greatest = 0;
    for (int lane = 0; lane < kLanes; ++lane) {
      std::uint32_t seen = 0;
      for (int row = 0; row < 16; ++row) {
        std::memcpy(pieces[row][lane].words, x.data() + row * 16 + lane * kCount, 16);
        seen = greater_magnitude<T>(seen, pieces[row][lane]);
      }
      greatest = std::max(greatest, magnitude_bits<T>(seen));
    }
    const BlockScale s = block_scale<T>(greatest, g);
    for (int row = 0; row < 16; ++row) {
      ASSERT_EQ(s.code, scales[static_cast<std::size_t>(row)]) << round;
      for (int col = 0; col < 16; ++col) {
        const std::uint32_t word =
            s.code == kE4m3Nan ? 0 : encode_piece<T>(pieces[row][col / kCount], s.factor);
        const std::uint8_t byte = codes[static_cast<std::size_t>(row * 8 + col / 2)];
        ASSERT_EQ(word >> (4 * (col % kCount)) & 15u, static_cast<unsigned>(byte >> (4 * (col % 2))) & 15u)
            << "round " << round << " row " << row << " column " << col;
      }
    }
  }
}

TEST(PackedPlan, FillsTheDeviceAndGivesEveryWarpWork) {
  for (const std::int64_t rows : {1, 16, 100, 576, 2560, 6144, 19456, 151936}) {
    for (const std::int64_t k : {16, 128, 576, 1536, 2560, 4096, 9728, 25600}) {
      for (const bool paired : {false, true}) {
        const PackedPlan plan = plan_packed((rows + kTileRows - 1) / kTileRows, k, paired);
        EXPECT_GE(plan.warps, 1);
        EXPECT_LE(plan.warps, kMaxPackedWarps);
        EXPECT_LE((plan.warps - 1) * kChunkCols, k) << rows << " x " << k;
        EXPECT_TRUE(plan.tiles == 1 || plan.tiles == 2 || plan.tiles == 4);
        EXPECT_TRUE(!paired || plan.tiles == 2);
      }
    }
  }
  // The linears of a 4B Qwen3 as measured.
  EXPECT_EQ(plan_packed(768, 2560, false).warps, 5);
  EXPECT_EQ(plan_packed(320, 4096, false).warps, 10);
  EXPECT_EQ(plan_packed(2432, 2560, true).warps, 2);
  EXPECT_EQ(plan_packed(320, 9728, false).warps, 10);
  EXPECT_EQ(plan_packed(18992, 2560, false).warps, 4);
}

}  // namespace
}  // namespace tetrad::nvfp4::cuda

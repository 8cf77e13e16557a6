// Compiled once per vector target by foreach_target. A tile is M rows of x times R rows of W; M * R * 2
// accumulators stay in registers, R being what keeps them within the register file. A chunk of 16 code bytes
// holds two blocks: its low nibbles are the even elements, its high nibbles the odd ones, so bytes 0..7
// belong to the first block's scale and 8..15 to the second's. Even and odd products have an accumulator
// each: the order of every sum is fixed by k alone.
#include "nvfp4/simd_product.h"

#include <algorithm>
#include <cstring>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "nvfp4/simd_product.cpp"
#include "nvfp4/simd_targets.h"  // before Highway: it says which targets to leave out

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace tetrad::nvfp4::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET == HWY_SCALAR  // no vector unit that Highway knows

void product_rows(const float* x, std::int64_t m, std::int64_t x_stride, const PackedView& w,
                  std::int64_t first_row, std::int64_t last_row, float* y, std::int64_t y_stride) {
  const std::int64_t row_codes = packed_cols(w.cols) / 2;
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t n = first_row; n < last_row; ++n) {
      float even = 0.0f, odd = 0.0f;
      for (std::int64_t b = 0; b < row_codes; ++b) {
        const std::uint32_t byte = w.codes[n * row_codes + b];
        const float scale = e4m3_decode(w.scales[(n * row_codes + b) / 8]);
        const float* chunk = x + i * x_stride + b / 16 * simd::kProductChunk + b % 16;
        even += e2m1_decode(byte & 15u) * scale * chunk[0];
        odd += e2m1_decode(byte >> 4) * scale * chunk[16];
      }
      y[i * y_stride + n] = (even + odd) * w.decode;
    }
  }
}

#else

using simd::kProductChunk;
using F = hn::CappedTag<float, 16>;
using U = hn::RebindToUnsigned<F>;
constexpr std::int64_t kChunkBytes = kProductChunk / 2;
constexpr std::int64_t kGroupChunks = 8;  // chunks whose 16 block scales are decoded together

// 16 E4M3 bytes -> 16 floats; every code, NaN included.
HWY_INLINE void decode_scales(const std::uint8_t* codes, float* out) {
  const F df;
  const U du;
  const hn::RebindToSigned<F> di;
  const hn::Rebind<std::uint8_t, F> du8;
  for (std::size_t i = 0; i < 16; i += hn::Lanes(df)) {
    const auto code = hn::PromoteTo(du, hn::LoadU(du8, codes + i));
    const auto magnitude = hn::And(code, hn::Set(du, 0x7Fu));
    const auto sign = hn::ShiftLeft<24>(hn::And(code, hn::Set(du, 0x80u)));
    const auto normal = hn::ShiftLeft<20>(hn::Add(magnitude, hn::Set(du, 960u)));
    const auto small = hn::Mul(hn::ConvertTo(df, hn::BitCast(di, magnitude)), hn::Set(df, 0.001953125f));
    const auto finite = hn::IfThenElse(hn::Lt(magnitude, hn::Set(du, 8u)), hn::BitCast(du, small), normal);
    const auto value = hn::IfThenElse(hn::Eq(magnitude, hn::Set(du, 0x7Fu)), hn::Set(du, kFloatNan), finite);
    hn::Store(hn::BitCast(df, hn::Or(value, sign)), df, out + i);
  }
}

// The sums of one tile. Rows of W start at `codes` and `scales`, row_codes and row_scales bytes apart.
template <int M, int R>
HWY_INLINE void tile(const float* x, std::int64_t x_stride, const std::uint8_t* codes,
                     const std::uint8_t* scales, std::int64_t row_codes, std::int64_t row_scales,
                     float decode, float* y, std::int64_t y_stride) {
  const F df;
  const hn::FixedTag<std::uint8_t, 16> du8;
  hn::Vec<F> even[M][R], odd[M][R];
  TETRAD_UNROLL
  for (int i = 0; i < M; ++i) {
    TETRAD_UNROLL
    for (int r = 0; r < R; ++r) even[i][r] = odd[i][r] = hn::Zero(df);
  }
#if HWY_CAP_GE512
  const U du;
  // One permutation looks up 16 elements in a register of float values.
  HWY_ALIGN static constexpr float kElements[16] = {0.0f,  0.5f,  1.0f,  1.5f,  2.0f,  3.0f,  4.0f,  6.0f,
                                                    -0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f};
  const auto elements = hn::Load(df, kElements);
  const auto pair_lanes = hn::ShiftRight<3>(hn::Iota(du, 0));  // 0 x 8, 1 x 8
#else
  // A byte shuffle looks up twice the elements as int8; the halves go into the scale.
  const hn::FixedTag<std::int8_t, 16> di8;
  const hn::Rebind<std::int8_t, F> di8_lanes;
  const hn::RebindToSigned<F> di;
  HWY_ALIGN static constexpr std::int8_t kTwice[16] = {0, 1,  2,  3,  4,  6,  8,  12,
                                                       0, -1, -2, -3, -4, -6, -8, -12};
  const auto twice = hn::Load(di8, kTwice);
#endif
  HWY_ALIGN float scale[R][16];
  HWY_ALIGN std::uint8_t padded[16];
  for (std::int64_t first = 0; first < row_codes; first += kGroupChunks * kChunkBytes) {
    const std::int64_t blocks = std::min<std::int64_t>(16, (row_codes - first) / 8);
    TETRAD_UNROLL
    for (int r = 0; r < R; ++r) {
      const std::uint8_t* group = scales + r * row_scales + first / 8;
      if (blocks < 16) {
        std::memset(padded, 0, sizeof(padded));
        std::memcpy(padded, group, static_cast<std::size_t>(blocks));
        group = padded;
      }
      decode_scales(group, scale[r]);
    }
    for (std::int64_t chunk = 0; 2 * chunk < blocks; ++chunk) {
      const std::int64_t at = first + chunk * kChunkBytes;
      const bool whole = row_codes - at >= kChunkBytes;
      const float* xc = x + 2 * at;
      TETRAD_UNROLL
      for (int r = 0; r < R; ++r) {
        const std::uint8_t* wc = codes + r * row_codes + at;
        if (!whole) {  // the last block of an odd number of blocks
          std::memset(padded, 0, sizeof(padded));
          std::memcpy(padded, wc, 8);
          wc = padded;
        }
        const auto bytes = hn::LoadU(du8, wc);
#if HWY_CAP_GE512
        const auto wide = hn::PromoteTo(du, bytes);
        const auto s = hn::TableLookupLanes(
            hn::Load(df, scale[r]),
            hn::IndicesFromVec(df, hn::Add(pair_lanes, hn::Set(du, static_cast<std::uint32_t>(2 * chunk)))));
        const auto low = hn::IndicesFromVec(df, hn::And(wide, hn::Set(du, 15u)));
        const auto high = hn::IndicesFromVec(df, hn::ShiftRight<4>(wide));
        const auto we = hn::Mul(hn::TableLookupLanes(elements, low), s);
        const auto wo = hn::Mul(hn::TableLookupLanes(elements, high), s);
        TETRAD_UNROLL
        for (int i = 0; i < M; ++i) {
          even[i][r] = hn::MulAdd(we, hn::LoadU(df, xc + i * x_stride), even[i][r]);
          odd[i][r] = hn::MulAdd(wo, hn::LoadU(df, xc + i * x_stride + 16), odd[i][r]);
        }
#else
        HWY_ALIGN std::int8_t low[16], high[16];
        const auto nibble = hn::Set(du8, 15);
        const hn::FixedTag<std::uint16_t, 8> du16;
        const auto upper = hn::And(hn::BitCast(du8, hn::ShiftRight<4>(hn::BitCast(du16, bytes))), nibble);
        hn::Store(hn::TableLookupBytes(twice, hn::BitCast(di8, hn::And(bytes, nibble))), di8, low);
        hn::Store(hn::TableLookupBytes(twice, hn::BitCast(di8, upper)), di8, high);
        for (std::size_t p = 0; p < 16; p += hn::Lanes(df)) {
          const auto s = hn::Set(df, 0.5f * scale[r][2 * chunk + static_cast<std::int64_t>(p) / 8]);
          const auto we = hn::Mul(hn::ConvertTo(df, hn::PromoteTo(di, hn::Load(di8_lanes, low + p))), s);
          const auto wo = hn::Mul(hn::ConvertTo(df, hn::PromoteTo(di, hn::Load(di8_lanes, high + p))), s);
          TETRAD_UNROLL
          for (int i = 0; i < M; ++i) {
            even[i][r] = hn::MulAdd(we, hn::LoadU(df, xc + i * x_stride + p), even[i][r]);
            odd[i][r] = hn::MulAdd(wo, hn::LoadU(df, xc + i * x_stride + 16 + p), odd[i][r]);
          }
        }
#endif
      }
    }
  }
  TETRAD_UNROLL
  for (int i = 0; i < M; ++i) {
    TETRAD_UNROLL
    for (int r = 0; r < R; ++r) {
      y[i * y_stride + r] = decode * hn::GetLane(hn::SumOfLanes(df, hn::Add(even[i][r], odd[i][r])));
    }
  }
}

template <int M, int R>
void all_tiles(const float* x, std::int64_t x_stride, const PackedView& w, std::int64_t first_row,
               std::int64_t last_row, float* y, std::int64_t y_stride) {
  const std::int64_t row_codes = packed_cols(w.cols) / 2;
  const std::int64_t row_scales = packed_cols(w.cols) / kBlock;
  std::int64_t n = first_row;
  for (; n + R <= last_row; n += R) {
    tile<M, R>(x, x_stride, w.codes + n * row_codes, w.scales + n * row_scales, row_codes, row_scales,
               w.decode, y + n, y_stride);
  }
  for (; n < last_row; ++n) {
    tile<M, 1>(x, x_stride, w.codes + n * row_codes, w.scales + n * row_scales, row_codes, row_scales,
               w.decode, y + n, y_stride);
  }
}

void product_rows(const float* x, std::int64_t m, std::int64_t x_stride, const PackedView& w,
                  std::int64_t first_row, std::int64_t last_row, float* y, std::int64_t y_stride) {
  switch (m) {
    case 1:
      return all_tiles<1, 4>(x, x_stride, w, first_row, last_row, y, y_stride);
    case 2:
      return all_tiles<2, 2>(x, x_stride, w, first_row, last_row, y, y_stride);
    case 3:
      return all_tiles<3, 2>(x, x_stride, w, first_row, last_row, y, y_stride);
    case 4:
      return all_tiles<4, 2>(x, x_stride, w, first_row, last_row, y, y_stride);
    case 5:
      return all_tiles<5, 1>(x, x_stride, w, first_row, last_row, y, y_stride);
    case 6:
      return all_tiles<6, 1>(x, x_stride, w, first_row, last_row, y, y_stride);
    case 7:
      return all_tiles<7, 1>(x, x_stride, w, first_row, last_row, y, y_stride);
    default:
      return all_tiles<8, 1>(x, x_stride, w, first_row, last_row, y, y_stride);
  }
}

#endif  // HWY_SCALAR

}  // namespace tetrad::nvfp4::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tetrad::nvfp4::simd {

HWY_EXPORT(product_rows);

void product_rows(const float* x, std::int64_t m, std::int64_t x_stride, const PackedView& w,
                  std::int64_t first_row, std::int64_t last_row, float* y, std::int64_t y_stride) {
  HWY_DYNAMIC_DISPATCH(product_rows)(x, m, x_stride, w, first_row, last_row, y, y_stride);
}

}  // namespace tetrad::nvfp4::simd
#endif  // HWY_ONCE

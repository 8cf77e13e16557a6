// Compiled once per vector target by foreach_target. A tile is M rows of x times R rows of W; M * R
// accumulators (twice as many without 512-bit vectors) stay in registers. How W is cut into chunks, and so
// the order of a sum, depends on the target and k alone.
//
// 512-bit vectors: a chunk is 64 code bytes, 16 words of 8 elements, so the n-th nibbles of all words are 16
// elements that one permutation looks up. The 8 products of a word are summed before its block scale is
// applied, once: a block is two words.
// Narrower vectors: a chunk is 16 code bytes, two blocks; its low nibbles are the even elements, its high
// nibbles the odd ones. Even and odd products have an accumulator each.
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

constexpr std::int64_t kChunk = 32;

void product_rows(const float* x, std::int64_t m, std::int64_t x_stride, const PackedView& w,
                  std::int64_t first_row, std::int64_t last_row, float* y, std::int64_t y_stride) {
  const std::int64_t row_codes = packed_cols(w.cols) / 2;
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t n = first_row; n < last_row; ++n) {
      float even = 0.0f, odd = 0.0f;
      for (std::int64_t b = 0; b < row_codes; ++b) {
        const std::uint32_t byte = w.codes[n * row_codes + b];
        const float scale = e4m3_decode(w.scales[(n * row_codes + b) / 8]);
        const float* chunk = x + i * x_stride + b / 16 * kChunk + b % 16;
        even += e2m1_decode(byte & 15u) * scale * chunk[0];
        odd += e2m1_decode(byte >> 4) * scale * chunk[16];
      }
      y[i * y_stride + n] = (even + odd) * w.decode;
    }
  }
}

#else

using F = hn::CappedTag<float, 16>;
using U = hn::RebindToUnsigned<F>;

#if HWY_CAP_GE512

constexpr std::int64_t kChunk = 128;
constexpr std::int64_t kChunkBytes = kChunk / 2;
constexpr int kNibbles = 8;  // of a word

// The first `count` of 16 E4M3 bytes -> 16 floats, zeros behind them; every code, NaN included. The bits of
// an E4M3 magnitude, 7 to the left, are those of the fp16 value 2^-8 times as large, subnormals included.
HWY_INLINE hn::Vec<F> load_scales(const std::uint8_t* codes, std::int64_t count) {
  const F df;
  const hn::Rebind<std::uint8_t, F> du8;
  const hn::Rebind<std::uint16_t, F> du16;
  const hn::Rebind<hwy::float16_t, F> df16;
  const auto bytes = count < 16 ? hn::MaskedLoad(hn::FirstN(du8, static_cast<std::size_t>(count)), du8, codes)
                                : hn::LoadU(du8, codes);
  const auto code = hn::PromoteTo(du16, bytes);
  const auto magnitude = hn::And(code, hn::Set(du16, 0x7F));
  const auto sign = hn::ShiftLeft<8>(hn::And(code, hn::Set(du16, 0x80)));
  const auto finite = hn::Or(hn::ShiftLeft<7>(magnitude), sign);
  const auto half = hn::IfThenElse(hn::Eq(magnitude, hn::Set(du16, 0x7F)), hn::Set(du16, 0x7E00), finite);
  return hn::Mul(hn::PromoteTo(df, hn::BitCast(df16, half)), hn::Set(df, 256.0f));
}

// The elements of the words' lowest nibbles. The permutation of these targets (vpermps) reads no more than
// four bits of an index, so the bits above need no clearing; only Highway's debug builds insist on it.
HWY_INLINE hn::Vec<F> look_up(hn::Vec<F> elements, hn::Vec<U> words) {
#if HWY_IS_DEBUG_BUILD
  words = hn::And(words, hn::Set(U(), 15u));
#endif
  return hn::TableLookupLanes(elements, hn::IndicesFromVec(F(), words));
}

// The sums of one tile. Rows of W start at `codes` and `scales`, row_codes and row_scales bytes apart.
template <int M, int R>
HWY_INLINE void tile(const float* x, std::int64_t x_stride, const std::uint8_t* codes,
                     const std::uint8_t* scales, std::int64_t row_codes, std::int64_t row_scales,
                     float decode, float* y, std::int64_t y_stride) {
  const F df;
  const U du;
  HWY_ALIGN static constexpr float kElements[16] = {0.0f,  0.5f,  1.0f,  1.5f,  2.0f,  3.0f,  4.0f,  6.0f,
                                                    -0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f};
  const auto elements = hn::Load(df, kElements);
  // The scale of lane j is that of block j / 2 of the chunk; a vector of scales serves two chunks.
  const auto first_half = hn::ShiftRight<1>(hn::Iota(du, 0));
  const auto second_half = hn::ShiftRight<1>(hn::Iota(du, 16));
  hn::Vec<F> sum[M][R], part[M][R], scale[R];
  hn::Vec<U> words[R];
  TETRAD_UNROLL
  for (int i = 0; i < M; ++i) {
    TETRAD_UNROLL
    for (int r = 0; r < R; ++r) sum[i][r] = hn::Zero(df);
  }
  for (std::int64_t at = 0; at < row_codes; at += kChunkBytes) {
    const bool second = (at & kChunkBytes) != 0;
    if (!second) {
      TETRAD_UNROLL
      for (int r = 0; r < R; ++r)
        scale[r] = load_scales(scales + r * row_scales + at / 8, row_scales - at / 8);
    }
    const std::int64_t left = (row_codes - at) / 4;
    if (left >= 16) {
      TETRAD_UNROLL
      for (int r = 0; r < R; ++r)
        words[r] = hn::LoadU(du, reinterpret_cast<const std::uint32_t*>(codes + r * row_codes + at));
    } else {
      const auto mask = hn::FirstN(du, static_cast<std::size_t>(left));
      TETRAD_UNROLL
      for (int r = 0; r < R; ++r)
        words[r] =
            hn::MaskedLoad(mask, du, reinterpret_cast<const std::uint32_t*>(codes + r * row_codes + at));
    }
    TETRAD_UNROLL
    for (int n = 0; n < kNibbles; ++n) {
      hn::Vec<F> element[R];
      TETRAD_UNROLL
      for (int r = 0; r < R; ++r) {
        element[r] = look_up(elements, words[r]);
        words[r] = hn::ShiftRight<4>(words[r]);
      }
      TETRAD_UNROLL
      for (int i = 0; i < M; ++i) {
        const auto xv = hn::LoadU(df, x + 2 * at + i * x_stride + 16 * n);
        TETRAD_UNROLL
        for (int r = 0; r < R; ++r)
          part[i][r] = n == 0 ? hn::Mul(element[r], xv) : hn::MulAdd(element[r], xv, part[i][r]);
      }
    }
    const auto lanes = hn::IndicesFromVec(df, second ? second_half : first_half);
    TETRAD_UNROLL
    for (int r = 0; r < R; ++r) {
      const auto s = hn::TableLookupLanes(scale[r], lanes);
      TETRAD_UNROLL
      for (int i = 0; i < M; ++i) sum[i][r] = hn::MulAdd(part[i][r], s, sum[i][r]);
    }
  }
  TETRAD_UNROLL
  for (int i = 0; i < M; ++i) {
    TETRAD_UNROLL
    for (int r = 0; r < R; ++r) y[i * y_stride + r] = decode * hn::GetLane(hn::SumOfLanes(df, sum[i][r]));
  }
}

#else

constexpr std::int64_t kChunk = 32;
constexpr std::int64_t kChunkBytes = kChunk / 2;
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
  // A byte shuffle looks up twice the elements as int8; the halves go into the scale.
  const hn::FixedTag<std::int8_t, 16> di8;
  const hn::Rebind<std::int8_t, F> di8_lanes;
  const hn::RebindToSigned<F> di;
  HWY_ALIGN static constexpr std::int8_t kTwice[16] = {0, 1,  2,  3,  4,  6,  8,  12,
                                                       0, -1, -2, -3, -4, -6, -8, -12};
  const auto twice = hn::Load(di8, kTwice);
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

#endif  // HWY_CAP_GE512

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

std::int64_t product_chunk() {
  return kChunk;
}

}  // namespace tetrad::nvfp4::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tetrad::nvfp4::simd {

HWY_EXPORT(product_rows);
HWY_EXPORT(product_chunk);

std::int64_t product_chunk() {
  return HWY_DYNAMIC_DISPATCH(product_chunk)();
}

void product_rows(const float* x, std::int64_t m, std::int64_t x_stride, const PackedView& w,
                  std::int64_t first_row, std::int64_t last_row, float* y, std::int64_t y_stride) {
  HWY_DYNAMIC_DISPATCH(product_rows)(x, m, x_stride, w, first_row, last_row, y, y_stride);
}

}  // namespace tetrad::nvfp4::simd
#endif  // HWY_ONCE

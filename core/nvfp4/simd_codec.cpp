// Compiled once per vector target by foreach_target. Everything is worked in blocks of 16 elements through
// tags of at most 16 float lanes, so that one source serves 4, 8 and 16 lanes; block scales are computed
// lane-parallel over a chunk of blocks. All float operations are single IEEE operations in the order of
// profile.h.
#include "nvfp4/simd_codec.h"

#include <tetrad/nvfp4/plane_codec.h>
#include <tetrad/nvfp4/reference.h>

#include <algorithm>
#include <cstring>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "nvfp4/simd_codec.cpp"
#include "nvfp4/simd_targets.h"  // before Highway: it says which targets to leave out

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace tetrad::nvfp4::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET == HWY_SCALAR  // a processor without any vector unit that Highway knows: the reference does it

template <class T>
std::uint32_t amax_bits(const T* x, std::int64_t rows, std::int64_t cols, std::int64_t stride) {
  const Amax found = reference::amax(x, rows, cols, stride);
  return found.first_bad < 0 ? float_bits(found.value) : kFloatNan;
}

template <class T>
bool quantize_te(const T* x, std::int64_t rows, std::int64_t cols, std::int64_t stride, GlobalScale global,
                 BlockShape block, std::uint8_t* codes, std::uint8_t* scales) {
  const EncodeOptions options{Profile::te, GlobalRule::exact, block};
  return reference::quantize(x, rows, cols, stride, global, options, codes, scales) < 0;
}

template <class T>
void dequantize_rows(const std::uint8_t* codes, const std::uint8_t* scales, float decode_scale,
                     std::int64_t rows, std::int64_t cols, T* out) {
  reference::dequantize(codes, scales, decode_scale, rows, cols, out);
}

template <class T>
void dequantize_tied_rows(const PlanesView& planes, float decode_scale, PlaneValue value, std::int64_t rows,
                          std::int64_t cols, T* out) {
  reference::dequantize_planes(planes, decode_scale, value, rows, cols, out);
}

#else

using F = hn::CappedTag<float, 16>;
using U = hn::RebindToUnsigned<F>;
constexpr std::int64_t kChunkBlocks = 32;  // blocks whose scales are computed together

HWY_INLINE hn::Vec<F> load(F df, const float* x) {
  return hn::LoadU(df, x);
}

HWY_INLINE hn::Vec<F> load(F df, const Bf16* x) {
  const hn::Rebind<std::uint16_t, F> du16;
  const U du;
  const auto half = hn::LoadU(du16, reinterpret_cast<const std::uint16_t*>(x));
  return hn::BitCast(df, hn::ShiftLeft<16>(hn::PromoteTo(du, half)));
}

// Pointer to 16 elements: x itself, or a zero-padded copy when fewer than 16 are left in the row.
template <class T>
HWY_INLINE const T* whole_block(const T* x, std::int64_t left, T* copy) {
  if (left >= kBlock) return x;
  for (std::int64_t i = 0; i < kBlock; ++i) copy[i] = i < left ? x[i] : T{};
  return copy;
}

// Greatest |x| of 16 elements as bit patterns, lane by lane.
template <class T>
HWY_INLINE hn::Vec<U> block_amax(const T* x) {
  const F df;
  const U du;
  const auto magnitude = hn::Set(du, 0x7FFFFFFFu);
  auto greatest = hn::Zero(du);
  for (std::size_t i = 0; i < kBlock; i += hn::Lanes(df)) {
    greatest = hn::Max(greatest, hn::And(hn::BitCast(du, load(df, x + i)), magnitude));
  }
  return greatest;
}

template <class T>
std::uint32_t amax_bits(const T* x, std::int64_t rows, std::int64_t cols, std::int64_t stride) {
  const U du;
  T copy[kBlock];
  auto greatest0 = hn::Zero(du);
  auto greatest1 = hn::Zero(du);
  for (std::int64_t r = 0; r < rows; ++r) {
    const T* row = x + r * stride;
    std::int64_t c = 0;
    for (; c + 2 * kBlock <= cols; c += 2 * kBlock) {
      greatest0 = hn::Max(greatest0, block_amax(row + c));
      greatest1 = hn::Max(greatest1, block_amax(row + c + kBlock));
    }
    for (; c < cols; c += kBlock)
      greatest0 = hn::Max(greatest0, block_amax(whole_block(row + c, cols - c, copy)));
  }
  return hn::GetLane(hn::MaxOfLanes(du, hn::Max(greatest0, greatest1)));
}

// One vector of BlockEncoder<te>::scale and factor. `amax` holds finite block maxima; code comes back as u32
// lanes.
HWY_INLINE void encode_scales(hn::Vec<F> amax, hn::Vec<F> sixth, hn::Vec<F> decode, hn::Vec<U>& code,
                              hn::Vec<F>& factor) {
  const F df;
  const U du;
  const auto s = hn::Min(hn::Mul(amax, sixth), hn::Set(df, kE4m3Max));
  const auto u = hn::BitCast(du, s);
  const auto odd = hn::And(hn::ShiftRight<20>(u), hn::Set(du, 1u));
  const auto normal =
      hn::Sub(hn::ShiftRight<20>(hn::Add(hn::Add(u, hn::Set(du, 0x7FFFFu)), odd)), hn::Set(du, 960u));
  // 2^14 has an ulp of 2^-9: adding it rounds to the subnormal grid, ties to even.
  const auto anchor = hn::Set(df, 16384.0f);
  const auto subnormal = hn::Sub(hn::BitCast(du, hn::Add(s, anchor)), hn::BitCast(du, anchor));
  const auto is_subnormal = hn::Lt(s, hn::Set(df, 0.015625f));
  code = hn::IfThenElse(hn::RebindMask(du, is_subnormal), subnormal, normal);
  const auto normal_value = hn::BitCast(df, hn::ShiftLeft<20>(hn::Add(normal, hn::Set(du, 960u))));
  const auto subnormal_value =
      hn::Mul(hn::ConvertTo(df, hn::BitCast(hn::RebindToSigned<F>(), subnormal)), hn::Set(df, 0.001953125f));
  const auto value = hn::IfThenElse(is_subnormal, subnormal_value, normal_value);
  factor = hn::Min(hn::Div(hn::Set(df, 1.0f), hn::Mul(value, decode)), hn::Set(df, kFloatMax));
}

// One vector of e2m1_encode(x * factor); codes come back as u32 lanes.
HWY_INLINE hn::Vec<U> encode_elements(hn::Vec<F> x, hn::Vec<F> factor) {
  const F df;
  const U du;
  const auto q = hn::Mul(x, factor);
  const auto u = hn::BitCast(du, q);
  const auto sign = hn::And(hn::ShiftRight<28>(u), hn::Set(du, 8u));
  const auto magnitude = hn::Min(hn::Abs(q), hn::Set(df, kE2m1Max));
  const auto m = hn::BitCast(du, magnitude);
  const auto odd = hn::And(hn::ShiftRight<22>(m), hn::Set(du, 1u));
  const auto normal =
      hn::Sub(hn::ShiftRight<22>(hn::Add(hn::Add(m, hn::Set(du, 0x1FFFFFu)), odd)), hn::Set(du, 252u));
  // 2^22 has an ulp of .5: adding it rounds to the grid below 1, ties to even.
  const auto anchor = hn::Set(df, 4194304.0f);
  const auto small = hn::Sub(hn::BitCast(du, hn::Add(magnitude, anchor)), hn::BitCast(du, anchor));
  const auto is_small = hn::RebindMask(du, hn::Lt(magnitude, hn::Set(df, 1.0f)));
  return hn::Or(sign, hn::IfThenElse(is_small, small, normal));
}

// 16 elements -> 8 bytes.
template <class T>
HWY_INLINE void encode_block(const T* x, float factor, std::uint8_t* codes) {
  const F df;
  const hn::Repartition<std::uint64_t, F> du64;
  const hn::Rebind<std::uint8_t, decltype(du64)> du8;
  const auto f = hn::Set(df, factor);
  for (std::size_t i = 0; i < kBlock; i += hn::Lanes(df)) {
    // A 64-bit lane holds two codes, the even element's in its low half: bring the odd one beside it.
    const auto pairs = hn::BitCast(du64, encode_elements(load(df, x + i), f));
    hn::StoreU(hn::TruncateTo(du8, hn::Or(pairs, hn::ShiftRight<28>(pairs))), du8, codes + i / 2);
  }
}

// Up to kChunkBlocks blocks side by side in `rows` rows (1, or up to 16 that share their scales).
template <class T>
bool quantize_chunk(const T* x, std::int64_t rows, std::int64_t cols, std::int64_t stride, GlobalScale global,
                    std::uint8_t* codes, std::int64_t row_codes, std::uint8_t* scales,
                    std::int64_t row_scales) {
  const F df;
  const U du;
  const hn::Rebind<std::uint8_t, U> du8;
  const std::int64_t blocks = (cols + kBlock - 1) / kBlock;
  const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(df));
  T copy[kBlock];
  HWY_ALIGN std::uint32_t greatest[kChunkBlocks];
  HWY_ALIGN float factors[kChunkBlocks];
  HWY_ALIGN std::uint8_t scale_codes[kChunkBlocks];

  auto all = hn::Zero(du);
  for (std::int64_t b = 0; b < blocks; ++b) {
    auto block = hn::Zero(du);
    for (std::int64_t r = 0; r < rows; ++r) {
      block = hn::Max(block, block_amax(whole_block(x + r * stride + b * kBlock, cols - b * kBlock, copy)));
    }
    all = hn::Max(all, block);
    greatest[b] = hn::GetLane(hn::MaxOfLanes(du, block));
  }
  const bool finite = is_finite_bits(hn::GetLane(hn::MaxOfLanes(du, all)));
  for (std::int64_t b = blocks; b % lanes != 0; ++b) greatest[b] = 0;

  const auto sixth = hn::Set(df, global.encode * (1.0f / 6.0f));
  const auto decode = hn::Set(df, global.decode);
  for (std::int64_t b = 0; b < blocks; b += lanes) {
    hn::Vec<U> code;
    hn::Vec<F> factor;
    encode_scales(hn::BitCast(df, hn::Load(du, greatest + b)), sixth, decode, code, factor);
    hn::StoreU(hn::TruncateTo(du8, code), du8, scale_codes + b);
    hn::Store(factor, df, factors + b);
  }

  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t b = 0; b < blocks; ++b) {
      const T* block = whole_block(x + r * stride + b * kBlock, cols - b * kBlock, copy);
      encode_block(block, factors[b], codes + r * row_codes + b * (kBlock / 2));
    }
    std::memcpy(scales + r * row_scales, scale_codes, static_cast<std::size_t>(blocks));
  }
  if (finite) return true;
  for (std::int64_t b = 0; b < blocks; ++b) {
    if (is_finite_bits(greatest[b])) continue;
    for (std::int64_t r = 0; r < rows; ++r) {
      std::memset(codes + r * row_codes + b * (kBlock / 2), 0, kBlock / 2);
      scales[r * row_scales + b] = kE4m3Nan;
    }
  }
  return false;
}

template <class T>
bool quantize_te(const T* x, std::int64_t rows, std::int64_t cols, std::int64_t stride, GlobalScale global,
                 BlockShape block, std::uint8_t* codes, std::uint8_t* scales) {
  const std::int64_t row_codes = packed_cols(cols) / 2;
  const std::int64_t row_scales = packed_cols(cols) / kBlock;
  const std::int64_t tile_rows = block == BlockShape::tile16x16 ? kBlock : 1;
  const std::int64_t chunk = kChunkBlocks * kBlock;
  bool finite = true;
  for (std::int64_t r = 0; r < rows; r += tile_rows) {
    for (std::int64_t c = 0; c < cols; c += chunk) {
      finite &= quantize_chunk(x + r * stride + c, std::min(tile_rows, rows - r), std::min(chunk, cols - c),
                               stride, global, codes + r * row_codes + c / 2, row_codes,
                               scales + r * row_scales + c / kBlock, row_scales);
    }
  }
  return finite;
}

HWY_INLINE void store(hn::Vec<F> v, float* out) {
  hn::StoreU(v, F(), out);
}

// fp32 bits -> bf16 bits in the low half of each lane, to nearest even.
HWY_INLINE hn::Vec<U> bf16_bits(hn::Vec<F> v) {
  const U du;
  const auto u = hn::BitCast(du, v);
  const auto odd = hn::And(hn::ShiftRight<16>(u), hn::Set(du, 1u));
  const auto rounded = hn::ShiftRight<16>(hn::Add(hn::Add(u, hn::Set(du, 0x7FFFu)), odd));
  return hn::IfThenElse(hn::RebindMask(du, hn::IsNaN(v)), hn::Set(du, 0x7FC0u), rounded);
}

HWY_INLINE void store(hn::Vec<F> v, Bf16* out) {
  const hn::Rebind<std::uint16_t, F> du16;
  hn::StoreU(hn::TruncateTo(du16, bf16_bits(v)), du16, reinterpret_cast<std::uint16_t*>(out));
}

// 8 bytes -> the elements of 16 codes, in order.
class Elements {
 public:
  explicit HWY_INLINE Elements(const std::uint8_t* codes) {
    const hn::FixedTag<std::uint8_t, 16> du8;
    const hn::FixedTag<std::uint16_t, 8> du16;
    const hn::Half<decltype(du8)> du8_half;
    const auto bytes = hn::ZeroExtendVector(du8, hn::LoadU(du8_half, codes));
    const auto nibbles = hn::InterleaveLower(
        du8, hn::And(bytes, hn::Set(du8, 15)),
        hn::And(hn::BitCast(du8, hn::ShiftRight<4>(hn::BitCast(du16, bytes))), hn::Set(du8, 15)));
#if HWY_CAP_GE512
    nibbles_ = nibbles;
#else
    // An element is exact in bf16; its two bytes come from two tables, so that -0 keeps its sign.
    HWY_ALIGN static constexpr std::uint8_t kLow[16] = {0x00, 0x00, 0x80, 0xC0, 0x00, 0x40, 0x80, 0xC0,
                                                        0x00, 0x00, 0x80, 0xC0, 0x00, 0x40, 0x80, 0xC0};
    HWY_ALIGN static constexpr std::uint8_t kHigh[16] = {0x00, 0x3F, 0x3F, 0x3F, 0x40, 0x40, 0x40, 0x40,
                                                         0x80, 0xBF, 0xBF, 0xBF, 0xC0, 0xC0, 0xC0, 0xC0};
    const auto low = hn::TableLookupBytes(hn::Load(du8, kLow), nibbles);
    const auto high = hn::TableLookupBytes(hn::Load(du8, kHigh), nibbles);
    hn::Store(hn::BitCast(du16, hn::InterleaveLower(du8, low, high)), du16, bf16_);
    hn::Store(hn::BitCast(du16, hn::InterleaveUpper(du8, low, high)), du16, bf16_ + 8);
#endif
  }
  // Lanes(F) elements from element i on.
  HWY_INLINE hn::Vec<F> at(std::size_t i) const {
    const F df;
    const U du;
#if HWY_CAP_GE512
    // One permutation of a register of floats.
    HWY_ALIGN static constexpr float kElements[16] = {0.0f,  0.5f,  1.0f,  1.5f,  2.0f,  3.0f,  4.0f,  6.0f,
                                                      -0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f};
    (void)i;  // a vector holds them all
    return hn::TableLookupLanes(hn::Load(df, kElements), hn::IndicesFromVec(df, hn::PromoteTo(du, nibbles_)));
#else
    const hn::Rebind<std::uint16_t, F> du16_lanes;
    return hn::BitCast(df, hn::ShiftLeft<16>(hn::PromoteTo(du, hn::Load(du16_lanes, bf16_ + i))));
#endif
  }

 private:
#if HWY_CAP_GE512
  hn::Vec<hn::FixedTag<std::uint8_t, 16>> nibbles_;
#else
  HWY_ALIGN std::uint16_t bf16_[kBlock];
#endif
};

// 8 bytes -> 16 elements at `out`.
template <class T>
HWY_INLINE void decode_block(const std::uint8_t* codes, float scale, float decode_scale, T* out) {
  const F df;
  const Elements elements(codes);
  const auto block_scale = hn::Set(df, scale);
  const auto global = hn::Set(df, decode_scale);
  for (std::size_t i = 0; i < kBlock; i += hn::Lanes(df))
    store(hn::Mul(hn::Mul(elements.at(i), block_scale), global), out + i);
}

// The same for tied planes: their sum times the block scale, folded: rounded to bf16, before the decode
// scale.
template <int P, bool Folded, class T>
HWY_INLINE void decode_tied(const PlanesView& planes, std::int64_t at, float scale, float decode_scale,
                            T* out) {
  const F df;
  const Elements hi(planes.codes + at), lo(planes.lo + at), lo2((P > 2 ? planes.lo2 : planes.lo) + at);
  const auto block_scale = hn::Set(df, scale);
  const auto global = hn::Set(df, decode_scale);
  for (std::size_t i = 0; i < kBlock; i += hn::Lanes(df)) {
    auto sum = hn::Add(hi.at(i), hn::Mul(lo.at(i), hn::Set(df, 0.25f)));
    if constexpr (P > 2) sum = hn::Add(sum, hn::Mul(lo2.at(i), hn::Set(df, 0.0625f)));
    auto value = hn::Mul(sum, block_scale);
    if constexpr (Folded) value = hn::BitCast(df, hn::ShiftLeft<16>(bf16_bits(value)));
    store(hn::Mul(value, global), out + i);
  }
}

// Calls decode(first byte of the block's codes, its scale, where 16 elements go) for every block of the rows.
template <class T, class Decode>
HWY_INLINE void for_each_block(const std::uint8_t* scales, std::int64_t rows, std::int64_t cols, T* out,
                               Decode decode) {
  const std::int64_t row_codes = packed_cols(cols) / 2;
  const std::int64_t row_scales = packed_cols(cols) / kBlock;
  T last[kBlock];
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < cols; c += kBlock) {
      const bool whole = cols - c >= kBlock;
      T* target = out + r * cols + c;
      decode(r * row_codes + c / 2, e4m3_decode(scales[r * row_scales + c / kBlock]), whole ? target : last);
      if (!whole) std::copy(last, last + (cols - c), target);
    }
  }
}

template <class T>
void dequantize_rows(const std::uint8_t* codes, const std::uint8_t* scales, float decode_scale,
                     std::int64_t rows, std::int64_t cols, T* out) {
  for_each_block(scales, rows, cols, out, [&](std::int64_t at, float scale, T* target) HWY_ATTR {
    decode_block(codes + at, scale, decode_scale, target);
  });
}

template <int P, bool Folded, class T>
void dequantize_tied_as(const PlanesView& planes, float decode_scale, std::int64_t rows, std::int64_t cols,
                        T* out) {
  for_each_block(planes.scales, rows, cols, out, [&](std::int64_t at, float scale, T* target) HWY_ATTR {
    decode_tied<P, Folded>(planes, at, scale, decode_scale, target);
  });
}

template <class T>
void dequantize_tied_rows(const PlanesView& planes, float decode_scale, PlaneValue value, std::int64_t rows,
                          std::int64_t cols, T* out) {
  const bool three = planes.lo2 != nullptr;
  if (value == PlaneValue::folded) {
    return three ? dequantize_tied_as<3, true>(planes, decode_scale, rows, cols, out)
                 : dequantize_tied_as<2, true>(planes, decode_scale, rows, cols, out);
  }
  return three ? dequantize_tied_as<3, false>(planes, decode_scale, rows, cols, out)
               : dequantize_tied_as<2, false>(planes, decode_scale, rows, cols, out);
}

#endif  // HWY_SCALAR

std::uint32_t amax_bits_float(const float* x, std::int64_t rows, std::int64_t cols, std::int64_t stride) {
  return amax_bits(x, rows, cols, stride);
}

std::uint32_t amax_bits_bf16(const Bf16* x, std::int64_t rows, std::int64_t cols, std::int64_t stride) {
  return amax_bits(x, rows, cols, stride);
}

bool quantize_te_float(const float* x, std::int64_t rows, std::int64_t cols, std::int64_t stride,
                       GlobalScale global, BlockShape block, std::uint8_t* codes, std::uint8_t* scales) {
  return quantize_te(x, rows, cols, stride, global, block, codes, scales);
}

bool quantize_te_bf16(const Bf16* x, std::int64_t rows, std::int64_t cols, std::int64_t stride,
                      GlobalScale global, BlockShape block, std::uint8_t* codes, std::uint8_t* scales) {
  return quantize_te(x, rows, cols, stride, global, block, codes, scales);
}

void dequantize_float(const std::uint8_t* codes, const std::uint8_t* scales, float decode_scale,
                      std::int64_t rows, std::int64_t cols, float* out) {
  dequantize_rows(codes, scales, decode_scale, rows, cols, out);
}

void dequantize_bf16(const std::uint8_t* codes, const std::uint8_t* scales, float decode_scale,
                     std::int64_t rows, std::int64_t cols, Bf16* out) {
  dequantize_rows(codes, scales, decode_scale, rows, cols, out);
}

void dequantize_tied_float(const PlanesView& planes, float decode_scale, PlaneValue value, std::int64_t rows,
                           std::int64_t cols, float* out) {
  dequantize_tied_rows(planes, decode_scale, value, rows, cols, out);
}

void dequantize_tied_bf16(const PlanesView& planes, float decode_scale, PlaneValue value, std::int64_t rows,
                          std::int64_t cols, Bf16* out) {
  dequantize_tied_rows(planes, decode_scale, value, rows, cols, out);
}

const char* target_name() {
  return hwy::TargetName(HWY_TARGET);
}

}  // namespace tetrad::nvfp4::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tetrad::nvfp4::simd {

HWY_EXPORT(amax_bits_float);
HWY_EXPORT(amax_bits_bf16);
HWY_EXPORT(quantize_te_float);
HWY_EXPORT(quantize_te_bf16);
HWY_EXPORT(dequantize_float);
HWY_EXPORT(dequantize_bf16);
HWY_EXPORT(dequantize_tied_float);
HWY_EXPORT(dequantize_tied_bf16);
HWY_EXPORT(target_name);

std::uint32_t amax_bits(const float* x, std::int64_t rows, std::int64_t cols, std::int64_t stride) {
  return HWY_DYNAMIC_DISPATCH(amax_bits_float)(x, rows, cols, stride);
}

std::uint32_t amax_bits(const Bf16* x, std::int64_t rows, std::int64_t cols, std::int64_t stride) {
  return HWY_DYNAMIC_DISPATCH(amax_bits_bf16)(x, rows, cols, stride);
}

bool quantize_te(const float* x, std::int64_t rows, std::int64_t cols, std::int64_t stride,
                 GlobalScale global, BlockShape block, std::uint8_t* codes, std::uint8_t* scales) {
  return HWY_DYNAMIC_DISPATCH(quantize_te_float)(x, rows, cols, stride, global, block, codes, scales);
}

bool quantize_te(const Bf16* x, std::int64_t rows, std::int64_t cols, std::int64_t stride, GlobalScale global,
                 BlockShape block, std::uint8_t* codes, std::uint8_t* scales) {
  return HWY_DYNAMIC_DISPATCH(quantize_te_bf16)(x, rows, cols, stride, global, block, codes, scales);
}

void dequantize(const std::uint8_t* codes, const std::uint8_t* scales, float decode_scale, std::int64_t rows,
                std::int64_t cols, float* out) {
  HWY_DYNAMIC_DISPATCH(dequantize_float)(codes, scales, decode_scale, rows, cols, out);
}

void dequantize(const std::uint8_t* codes, const std::uint8_t* scales, float decode_scale, std::int64_t rows,
                std::int64_t cols, Bf16* out) {
  HWY_DYNAMIC_DISPATCH(dequantize_bf16)(codes, scales, decode_scale, rows, cols, out);
}

void dequantize_tied(const PlanesView& planes, float decode_scale, PlaneValue value, std::int64_t rows,
                     std::int64_t cols, float* out) {
  HWY_DYNAMIC_DISPATCH(dequantize_tied_float)(planes, decode_scale, value, rows, cols, out);
}

void dequantize_tied(const PlanesView& planes, float decode_scale, PlaneValue value, std::int64_t rows,
                     std::int64_t cols, Bf16* out) {
  HWY_DYNAMIC_DISPATCH(dequantize_tied_bf16)(planes, decode_scale, value, rows, cols, out);
}

const char* target_name() {
  return HWY_DYNAMIC_DISPATCH(target_name)();
}

}  // namespace tetrad::nvfp4::simd
#endif  // HWY_ONCE

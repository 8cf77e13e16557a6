// Compiled once per vector target by foreach_target. A bf16 is the upper half of a float: a 32-bit word of W
// holds an even element, which a shift widens, and an odd one, which a mask does. A tile is M rows of x times
// R rows of W; even and odd products have an accumulator each.
#include "nvfp4/simd_dense_product.h"

#include <algorithm>
#include <cstring>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "nvfp4/simd_dense_product.cpp"
#include "nvfp4/simd_targets.h"  // before Highway: it says which targets to leave out

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace tetrad::nvfp4::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using simd::kDenseChunk;
using F = hn::CappedTag<float, 16>;
using U = hn::RebindToUnsigned<F>;
constexpr std::int64_t kWords = kDenseChunk / 2;  // of 32 bits in a chunk

// Adds one chunk of R rows of W, `w_stride` bytes apart, to the sums.
template <int M, int R>
HWY_INLINE void add_chunk(const float* x, std::int64_t x_stride, const std::uint8_t* w, std::int64_t w_stride,
                          hn::Vec<F> (&even)[M][R], hn::Vec<F> (&odd)[M][R]) {
  const F df;
  const U du;
  for (std::int64_t p = 0; p < kWords; p += static_cast<std::int64_t>(hn::Lanes(df))) {
    hn::Vec<F> low[R], high[R];
    TETRAD_UNROLL
    for (int r = 0; r < R; ++r) {
      const auto words = hn::LoadU(du, reinterpret_cast<const std::uint32_t*>(w + r * w_stride) + p);
      low[r] = hn::BitCast(df, hn::ShiftLeft<16>(words));
      high[r] = hn::BitCast(df, hn::And(words, hn::Set(du, 0xFFFF0000u)));
    }
    TETRAD_UNROLL
    for (int i = 0; i < M; ++i) {
      const auto x_even = hn::LoadU(df, x + i * x_stride + p);
      const auto x_odd = hn::LoadU(df, x + i * x_stride + kWords + p);
      TETRAD_UNROLL
      for (int r = 0; r < R; ++r) {
        even[i][r] = hn::MulAdd(low[r], x_even, even[i][r]);
        odd[i][r] = hn::MulAdd(high[r], x_odd, odd[i][r]);
      }
    }
  }
}

template <int M, int R>
HWY_INLINE void tile(const float* x, std::int64_t x_stride, const Bf16* w, std::int64_t cols, float alpha,
                     float* y, std::int64_t y_stride) {
  const F df;
  hn::Vec<F> even[M][R], odd[M][R];
  TETRAD_UNROLL
  for (int i = 0; i < M; ++i) {
    TETRAD_UNROLL
    for (int r = 0; r < R; ++r) even[i][r] = odd[i][r] = hn::Zero(df);
  }
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(w);
  std::int64_t c = 0;
  for (; c + kDenseChunk <= cols; c += kDenseChunk)
    add_chunk<M, R>(x + c, x_stride, bytes + 2 * c, 2 * cols, even, odd);
  if (c < cols) {
    std::uint8_t padded[R][2 * kDenseChunk] = {};
    for (int r = 0; r < R; ++r)
      std::memcpy(padded[r], bytes + 2 * (r * cols + c), static_cast<std::size_t>(2 * (cols - c)));
    add_chunk<M, R>(x + c, x_stride, padded[0], 2 * kDenseChunk, even, odd);
  }
  TETRAD_UNROLL
  for (int i = 0; i < M; ++i) {
    TETRAD_UNROLL
    for (int r = 0; r < R; ++r)
      y[i * y_stride + r] = alpha * hn::GetLane(hn::SumOfLanes(df, hn::Add(even[i][r], odd[i][r])));
  }
}

template <int M, int R>
void all_tiles(const float* x, std::int64_t x_stride, const DenseView& w, std::int64_t first_row,
               std::int64_t last_row, float* y, std::int64_t y_stride) {
  std::int64_t n = first_row;
  for (; n + R <= last_row; n += R)
    tile<M, R>(x, x_stride, w.values + n * w.cols, w.cols, w.alpha, y + n, y_stride);
  for (; n < last_row; ++n) tile<M, 1>(x, x_stride, w.values + n * w.cols, w.cols, w.alpha, y + n, y_stride);
}

void dense_product_rows(const float* x, std::int64_t m, std::int64_t x_stride, const DenseView& w,
                        std::int64_t first_row, std::int64_t last_row, float* y, std::int64_t y_stride) {
  switch (m) {
    case 1:
      return all_tiles<1, 4>(x, x_stride, w, first_row, last_row, y, y_stride);
    case 2:
      return all_tiles<2, 2>(x, x_stride, w, first_row, last_row, y, y_stride);
    case 3:
      return all_tiles<3, 2>(x, x_stride, w, first_row, last_row, y, y_stride);
    default:
      return all_tiles<4, 2>(x, x_stride, w, first_row, last_row, y, y_stride);
  }
}

void narrow_floats(const float* from, std::int64_t n, Bf16* to) {
  const F df;
  const U du;
  const hn::RebindToSigned<F> di;
  const hn::Rebind<std::uint16_t, F> du16;
  const auto step = static_cast<std::int64_t>(hn::Lanes(df));
  std::int64_t i = 0;
  for (; i + step <= n; i += step) {
    const auto u = hn::BitCast(du, hn::LoadU(df, from + i));
    const auto odd = hn::And(hn::ShiftRight<16>(u), hn::Set(du, 1u));
    const auto rounded = hn::ShiftRight<16>(hn::Add(u, hn::Add(odd, hn::Set(du, 0x7FFFu))));
    const auto nan = hn::Gt(hn::And(u, hn::Set(du, 0x7FFFFFFFu)), hn::Set(du, kFloatInf));
    const auto bits = hn::BitCast(di, hn::IfThenElse(nan, hn::Set(du, 0x7FC0u), rounded));
    hn::StoreU(hn::DemoteTo(du16, bits), du16, reinterpret_cast<std::uint16_t*>(to + i));
  }
  for (; i < n; ++i) to[i] = to_bf16(from[i]);
}

}  // namespace tetrad::nvfp4::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tetrad::nvfp4::simd {

HWY_EXPORT(dense_product_rows);
HWY_EXPORT(narrow_floats);

void narrow(const float* from, std::int64_t n, Bf16* to) {
  HWY_DYNAMIC_DISPATCH(narrow_floats)(from, n, to);
}

void dense_product_rows(const float* x, std::int64_t m, std::int64_t x_stride, const DenseView& w,
                        std::int64_t first_row, std::int64_t last_row, float* y, std::int64_t y_stride) {
  HWY_DYNAMIC_DISPATCH(dense_product_rows)(x, m, x_stride, w, first_row, last_row, y, y_stride);
}

}  // namespace tetrad::nvfp4::simd
#endif  // HWY_ONCE

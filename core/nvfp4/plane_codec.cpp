#include <tetrad/nvfp4/plane_codec.h>
#include <tetrad/nvfp4/planes.h>

#include <tetrad/base/error.h>

#include <algorithm>
#include <string>
#include <type_traits>

#include "nvfp4/checks.h"
#include "nvfp4/simd_codec.h"

namespace tetrad::nvfp4 {
namespace {

// Calls f with the number of planes as a constant.
template <class Planes, class F>
auto with_count(const Planes& planes, F&& f) {
  switch (planes.count()) {
    case 1:
      return f(std::integral_constant<int, 1>{});
    case 2:
      return f(std::integral_constant<int, 2>{});
    default:
      return f(std::integral_constant<int, 3>{});
  }
}

template <class Byte>
Byte* plane(const PlanesAt<Byte>& planes, int p) {
  return p == 0 ? planes.codes : (p == 1 ? planes.lo : planes.lo2);
}

template <int P, bool Stochastic, class T>
std::int64_t encode_rows(const T* x, std::int64_t rows, std::int64_t cols, std::int64_t stride,
                         GlobalScale global, const LastPlane& last, const PlanesOut& out) {
  const std::int64_t row_blocks = packed_cols(cols) / kBlock;
  std::int64_t first_bad = -1;
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t b = 0; b < row_blocks; ++b) {
      float values[16];
      const std::int64_t left = cols - b * kBlock;
      for (std::int64_t k = 0; k < kBlock; ++k) {
        values[k] = k < left ? to_float(x[r * stride + b * kBlock + k]) : 0.0f;
        if (first_bad < 0 && !is_finite_bits(abs_bits(values[k]))) first_bad = r * cols + b * kBlock + k;
      }
      const std::uint8_t scale = block_scale_of(block_amax(values), global);
      std::uint32_t words[16] = {};
      if constexpr (Stochastic) {
        draw_block(last.draws, (last.first_row + r) * row_blocks + b, words);
        for (std::uint32_t& word : words) word = draw0(word);
      }
      BlockCodes planes[P];
      encode_block<P, Stochastic>(values, scale, global.decode, words, planes);
      const std::int64_t block = r * row_blocks + b;
      out.scales[block] = scale;
      for (int p = 0; p < P; ++p) store_codes(planes[p], plane(out, p) + block * 8);
    }
  }
  return first_bad;
}

}  // namespace

template <class T>
std::int64_t quantize_planes(const T* x, std::int64_t rows, std::int64_t cols, std::int64_t stride,
                             GlobalScale global, const LastPlane& last, const PlanesOut& out) {
  return with_count(out, [&](auto count) {
    constexpr int P = decltype(count)::value;
    return last.stochastic ? encode_rows<P, true>(x, rows, cols, stride, global, last, out)
                           : encode_rows<P, false>(x, rows, cols, stride, global, last, out);
  });
}

template <class T>
void reference::dequantize_planes(const PlanesView& planes, float decode_scale, PlaneValue value,
                                  std::int64_t rows, std::int64_t cols, T* out) {
  check_decode_scale<T>(decode_scale);
  const std::int64_t row_blocks = packed_cols(cols) / kBlock;
  with_count(planes, [&](auto count) {
    constexpr int P = decltype(count)::value;
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t b = 0; b < row_blocks; ++b) {
        const std::int64_t block = r * row_blocks + b;
        BlockCodes codes[P];
        for (int p = 0; p < P; ++p) codes[p] = load_codes(plane(planes, p) + block * 8);
        float values[16];
        decode_block(codes, planes.scales[block], 1.0f, values);
        const std::int64_t n = std::min(kBlock, cols - b * kBlock);
        for (std::int64_t k = 0; k < n; ++k) {
          const float unscaled = value == PlaneValue::folded ? folded(values[k]) : values[k];
          out[r * cols + b * kBlock + k] = from_float<T>(unscaled * decode_scale);
        }
      }
    }
  });
}

template <class T>
void dequantize_planes(const PlanesView& planes, float decode_scale, PlaneValue value, std::int64_t rows,
                       std::int64_t cols, T* out) {
  check_decode_scale<T>(decode_scale);
  if constexpr (std::is_same_v<T, Fp16>) {
    reference::dequantize_planes(planes, decode_scale, value, rows, cols, out);
  } else if (planes.count() == 1) {  // exact in bf16: folding changes nothing
    simd::dequantize(planes.codes, planes.scales, decode_scale, rows, cols, out);
  } else {
    simd::dequantize_tied(planes, decode_scale, value, rows, cols, out);
  }
}

template <class T>
void gather_planes(const PlanesView& planes, float decode_scale, PlaneValue value, std::int64_t rows,
                   std::int64_t cols, const std::int64_t* ids, std::int64_t count, T* out) {
  for (std::int64_t i = 0; i < count; ++i) {
    if (ids[i] < 0 || ids[i] >= rows)
      throw Error(ExitCode::usage, "[nvfp4] row " + std::to_string(ids[i]) + " of a tensor that has " +
                                       std::to_string(rows) + " rows");
  }
  const std::int64_t row_blocks = packed_cols(cols) / kBlock, row_codes = row_blocks * (kBlock / 2);
  for (std::int64_t i = 0; i < count; ++i) {
    const auto at = [&](const std::uint8_t* p, std::int64_t bytes) {
      return p == nullptr ? nullptr : p + ids[i] * bytes;
    };
    const PlanesView row{at(planes.codes, row_codes), at(planes.scales, row_blocks), at(planes.lo, row_codes),
                         at(planes.lo2, row_codes)};
    dequantize_planes(row, decode_scale, value, 1, cols, out + i * cols);
  }
}

#define TETRAD_INSTANTIATE(T)                                                                               \
  template std::int64_t quantize_planes<T>(const T*, std::int64_t, std::int64_t, std::int64_t, GlobalScale, \
                                           const LastPlane&, const PlanesOut&);                             \
  template void dequantize_planes<T>(const PlanesView&, float, PlaneValue, std::int64_t, std::int64_t, T*); \
  template void gather_planes<T>(const PlanesView&, float, PlaneValue, std::int64_t, std::int64_t,          \
                                 const std::int64_t*, std::int64_t, T*);                                    \
  template void reference::dequantize_planes<T>(const PlanesView&, float, PlaneValue, std::int64_t,         \
                                                std::int64_t, T*);
TETRAD_INSTANTIATE(float)
TETRAD_INSTANTIATE(Bf16)
TETRAD_INSTANTIATE(Fp16)
#undef TETRAD_INSTANTIATE

}  // namespace tetrad::nvfp4

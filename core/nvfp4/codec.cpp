#include <tetrad/nvfp4/codec.h>
#include <tetrad/nvfp4/reference.h>

#include <type_traits>

#include "nvfp4/checks.h"
#include "nvfp4/simd_codec.h"

namespace tetrad::nvfp4 {

template <class T>
Amax amax(const T* x, std::int64_t rows, std::int64_t cols, std::int64_t stride) {
  if constexpr (!std::is_same_v<T, Fp16>) {
    const std::uint32_t bits = simd::amax_bits(x, rows, cols, stride);
    if (is_finite_bits(bits)) return {bits_float(bits), -1};
  }
  return reference::amax(x, rows, cols, stride);
}

template <class T>
std::int64_t quantize(const T* x, std::int64_t rows, std::int64_t cols, std::int64_t stride,
                      GlobalScale global, const EncodeOptions& options, std::uint8_t* codes,
                      std::uint8_t* scales) {
  if constexpr (!std::is_same_v<T, Fp16>) {
    if (options.profile == Profile::te && options.plain()) {
      if (simd::quantize_te(x, rows, cols, stride, global, options.block, codes, scales)) return -1;
      return reference::amax(x, rows, cols, stride).first_bad;
    }
  }
  return reference::quantize(x, rows, cols, stride, global, options, codes, scales);
}

template <class T>
void dequantize(const std::uint8_t* codes, const std::uint8_t* scales, float decode_scale, std::int64_t rows,
                std::int64_t cols, T* out) {
  check_decode_scale<T>(decode_scale);
  if constexpr (std::is_same_v<T, Fp16>) {
    reference::dequantize(codes, scales, decode_scale, rows, cols, out);
  } else {
    simd::dequantize(codes, scales, decode_scale, rows, cols, out);
  }
}

#define TETRAD_INSTANTIATE(T)                                                                              \
  template Amax amax<T>(const T*, std::int64_t, std::int64_t, std::int64_t);                               \
  template std::int64_t quantize<T>(const T*, std::int64_t, std::int64_t, std::int64_t, GlobalScale,       \
                                    const EncodeOptions&, std::uint8_t*, std::uint8_t*);                   \
  template void dequantize<T>(const std::uint8_t*, const std::uint8_t*, float, std::int64_t, std::int64_t, \
                              T*);
TETRAD_INSTANTIATE(float)
TETRAD_INSTANTIATE(Bf16)
TETRAD_INSTANTIATE(Fp16)
#undef TETRAD_INSTANTIATE

}  // namespace tetrad::nvfp4

// The CPU codec: amax, quantise, dequantise on raw row-major arrays, fast (run-time SIMD dispatch) and
// bit-exact to the plain functions of reference.h, which have the same signatures. Nothing here allocates,
// threads or throws, except where said: all functions work on a range of rows, and callers split a tensor by
// rows.
//
// Layout. x is [rows, cols] with `stride` elements from row to row. codes is [rows, packed_cols(cols) / 2]
// bytes, scales [rows, packed_cols(cols) / 16] E4M3 bytes, both dense; cols is padded with zeros to a
// multiple of 16. With tiles of 16 x 16 a range of rows must begin at a multiple of 16 of the tensor; the
// last tile may have fewer rows. T is float, Bf16 or Fp16.
//
// Non-finite input is never hidden: its whole block gets the scale 0x7F (NaN) and zero codes, so that it
// decodes to NaN, and the functions return where the first one was.
#pragma once

#include <tetrad/nvfp4/profile.h>

namespace tetrad::nvfp4 {

inline constexpr std::int64_t packed_cols(std::int64_t cols) {
  return (cols + kBlock - 1) / kBlock * kBlock;
}

struct Amax {
  float value = 0.0f;           // max |x| over the finite elements
  std::int64_t first_bad = -1;  // row * cols + col of the first non-finite element, or -1
};

template <class T>
Amax amax(const T* x, std::int64_t rows, std::int64_t cols, std::int64_t stride);

// Returns row * cols + col of the first non-finite element of the range, or -1.
template <class T>
std::int64_t quantize(const T* x, std::int64_t rows, std::int64_t cols, std::int64_t stride,
                      GlobalScale global, const EncodeOptions& options, std::uint8_t* codes,
                      std::uint8_t* scales);

// out[r, c] = (code * block scale) * decode_scale, out dense [rows, cols]; the first product is exact, the
// second is rounded once in fp32 and then narrowed. A NaN block scale gives NaN. For 16-bit outputs
// decode_scale must be a power of two (then nothing is rounded in bf16 within power_of_two_scale's range):
// another one belongs into the product's fp32 alpha, see dequantize_unscaled; throws tetrad::Error otherwise.
template <class T>
void dequantize(const std::uint8_t* codes, const std::uint8_t* scales, float decode_scale, std::int64_t rows,
                std::int64_t cols, T* out);

// out[r, c] = code * block scale: exact in float, bf16 and fp16.
template <class T>
void dequantize_unscaled(const std::uint8_t* codes, const std::uint8_t* scales, std::int64_t rows,
                         std::int64_t cols, T* out) {
  dequantize(codes, scales, 1.0f, rows, cols, out);
}

}  // namespace tetrad::nvfp4

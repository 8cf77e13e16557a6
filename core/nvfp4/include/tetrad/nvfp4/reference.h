// The plain reference of the codec: slow, readable, one element after the other, the definition that the SIMD
// and CUDA kernels are tested against bit for bit. Signatures, layouts and the treatment of non-finite
// values: codec.h.
#pragma once

#include <tetrad/nvfp4/codec.h>

namespace tetrad::nvfp4::reference {

template <class T>
Amax amax(const T* x, std::int64_t rows, std::int64_t cols, std::int64_t stride);

template <class T>
std::int64_t quantize(const T* x, std::int64_t rows, std::int64_t cols, std::int64_t stride,
                      GlobalScale global, const EncodeOptions& options, std::uint8_t* codes,
                      std::uint8_t* scales);

template <class T>
void dequantize(const std::uint8_t* codes, const std::uint8_t* scales, float decode_scale, std::int64_t rows,
                std::int64_t cols, T* out);

template <class T>
void dequantize_unscaled(const std::uint8_t* codes, const std::uint8_t* scales, std::int64_t rows,
                         std::int64_t cols, T* out) {
  dequantize(codes, scales, 1.0f, rows, cols, out);
}

}  // namespace tetrad::nvfp4::reference

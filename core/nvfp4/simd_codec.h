// The SIMD half of the codec (profile TE; float and Bf16 in, float, Bf16 and Fp16 out where said), chosen at
// run time for the machine's vector unit. Same contracts as codec.h; amax reports only whether something was
// non-finite, and the caller then looks for it slowly.
#pragma once

#include <tetrad/nvfp4/plane_codec.h>

namespace tetrad::nvfp4::simd {

// max over |x| as a bit pattern (hd.h): at or above kFloatInf when an element is not finite.
std::uint32_t amax_bits(const float* x, std::int64_t rows, std::int64_t cols, std::int64_t stride);
std::uint32_t amax_bits(const Bf16* x, std::int64_t rows, std::int64_t cols, std::int64_t stride);

// Returns whether every element was finite.
bool quantize_te(const float* x, std::int64_t rows, std::int64_t cols, std::int64_t stride,
                 GlobalScale global, BlockShape block, std::uint8_t* codes, std::uint8_t* scales);
bool quantize_te(const Bf16* x, std::int64_t rows, std::int64_t cols, std::int64_t stride, GlobalScale global,
                 BlockShape block, std::uint8_t* codes, std::uint8_t* scales);

void dequantize(const std::uint8_t* codes, const std::uint8_t* scales, float decode_scale, std::int64_t rows,
                std::int64_t cols, float* out);
void dequantize(const std::uint8_t* codes, const std::uint8_t* scales, float decode_scale, std::int64_t rows,
                std::int64_t cols, Bf16* out);

// Two or three tied planes (plane_codec.h).
void dequantize_tied(const PlanesView& planes, float decode_scale, PlaneValue value, std::int64_t rows,
                     std::int64_t cols, float* out);
void dequantize_tied(const PlanesView& planes, float decode_scale, PlaneValue value, std::int64_t rows,
                     std::int64_t cols, Bf16* out);

// The name of the vector target that runs here, for logs and `host doctor`, e.g. "AVX3".
const char* target_name();

}  // namespace tetrad::nvfp4::simd

// The CPU kernels behind norm.h, activation.h and rope.h: one row at a time, for float and Bf16, chosen at
// run time for the machine's vector unit. Arithmetic is fp32 and rounded where the headers of the ops say. A
// row's result depends on nothing but the row.
#pragma once

#include <tetrad/nvfp4/half.h>

#include <cstdint>

namespace tetrad::ops::simd {

using nvfp4::Bf16;

// out = round(x / sqrt(mean(x^2) + eps)) * weight over n elements. With y not null, x + y takes the place of
// x, rounded to T, and is stored in sum.
void rms_norm_row(const float* x, const float* y, const float* weight, std::int64_t n, float eps, float* sum,
                  float* out);
void rms_norm_row(const Bf16* x, const Bf16* y, const Bf16* weight, std::int64_t n, float eps, Bf16* sum,
                  Bf16* out);

// Its two halves, for statistics that somebody else takes: squares = x^2 in fp32 (of x + y as above), and out
// = round(x * inverse) * weight.
void squares_row(const float* x, const float* y, std::int64_t n, float* sum, float* squares);
void squares_row(const Bf16* x, const Bf16* y, std::int64_t n, Bf16* sum, float* squares);
void scale_row(const float* x, float inverse, const float* weight, std::int64_t n, float* out);
void scale_row(const Bf16* x, float inverse, const Bf16* weight, std::int64_t n, Bf16* out);

// out = round(silu(gate)) * up.
void silu_mul_row(const float* gate, const float* up, std::int64_t n, float* out);
void silu_mul_row(const Bf16* gate, const Bf16* up, std::int64_t n, Bf16* out);

// One head: (a, b) = (x[i], x[half + i]) -> (a cos[i] - b sin[i], b cos[i] + a sin[i]), products and sums
// each rounded to the type.
void rope_head(const float* x, const float* cos, const float* sin, std::int64_t half, float* out);
void rope_head(const Bf16* x, const Bf16* cos, const Bf16* sin, std::int64_t half, Bf16* out);

// Whether none of n values is NaN or infinite.
bool all_finite(const float* x, std::int64_t n);

}  // namespace tetrad::ops::simd

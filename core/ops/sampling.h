// The arithmetic of choosing a token from logits, written once for the host (generate/sampler.cpp) and for
// CUDA devices (ops/cuda/sample.cu), so that both choose the same token from the same logits, seed and draw.
// Probabilities are integers: a weight is exp((score - greatest) / temperature) in units of 2^-40, from fp64
// steps that round the same everywhere and a series in integers, and integer sums do not depend on their
// order. Compiled without contraction (hd.h).
//
// The rule, for scores in the order of their falling value (ids decide among equal ones): keep the first
// top_k; of these the shortest beginning whose weights reach the share top_p of theirs; of these the ones
// with a weight of at least min_weight. Then the draw falls on weights summed in that order; where top_k and
// top_p are off, in the order of the ids, so that nothing needs to be sorted.
#pragma once

#include <tetrad/nvfp4/hd.h>

#include <cstdint>

namespace tetrad::ops {

struct SamplingRule {
  double scale = 0.0;       // log2(e) / temperature; 0: take the greatest score
  std::int64_t top_k = 0;   // 0: off
  std::uint64_t top_p = 0;  // in 2^-64; 0: off
  std::uint64_t min_weight = 0;
  double penalty = 1.0;  // of repeated tokens; 1: off
};

inline constexpr std::uint64_t kWeightOfTheGreatest = std::uint64_t{1} << 40;
// Sums of so many weights fit into 64 bits.
inline constexpr std::int64_t kMaxSampled = (std::int64_t{1} << 24) - 1;

// The score of a token that is in the context: the penalty divides what is positive and multiplies the rest.
TETRAD_HD inline float penalised(float logit, double penalty) {
  return static_cast<float>(logit > 0.0f ? logit / penalty : logit * penalty);
}

// Of a score: smaller for a larger one, equal for equal ones (-0 and 0 are).
TETRAD_HD inline std::uint32_t falling_key(float score) {
  const std::uint32_t bits = nvfp4::float_bits(score + 0.0f);
  return (bits >> 31) != 0 ? bits : ~(bits | 0x80000000u);
}

// high * 2^64 + low = a * b.
struct Wide {
  std::uint64_t high, low;
};
TETRAD_HD inline Wide multiply(std::uint64_t a, std::uint64_t b) {
  const std::uint64_t a0 = a & 0xFFFFFFFFu, a1 = a >> 32, b0 = b & 0xFFFFFFFFu, b1 = b >> 32;
  const std::uint64_t low = a0 * b0, cross = a1 * b0 + (low >> 32);
  const std::uint64_t middle = (cross & 0xFFFFFFFFu) + a0 * b1;
  return {a1 * b1 + (cross >> 32) + (middle >> 32), middle << 32 | (low & 0xFFFFFFFFu)};
}

// 2^-(t / 2^32) in units of 2^-32, within 3 units: the series of exp(-z) at z = t ln 2 / 2^32, coefficients
// ln(2)^k / k! in units of 2^-32.
TETRAD_HD inline std::uint64_t half_power(std::uint32_t t) {
  constexpr std::uint64_t c[12] = {2977044472u, 1031764991u, 238388332u, 41309550u, 5726720u, 661577u,
                                   65510u,      5676u,       437u,       30u,       2u,       0u};
  std::uint64_t inner = c[11];
#ifdef __CUDA_ARCH__
#pragma unroll
#endif
  for (int k = 10; k >= 0; --k) inner = c[k] - (t * inner >> 32);
  return (std::uint64_t{1} << 32) - (t * inner >> 32);
}

// The weight of a score that is not above `greatest`.
TETRAD_HD inline std::uint64_t sampling_weight(float greatest, float score, double scale) {
  const double below = static_cast<double>(greatest) - static_cast<double>(score);
  if (below == 0.0) return kWeightOfTheGreatest;
  const double halvings = below * scale;
  if (!(halvings < 41.0)) return 0;
  const auto fixed = static_cast<std::uint64_t>(halvings * 4294967296.0);
  return (half_power(static_cast<std::uint32_t>(fixed)) << 8) >> (fixed >> 32);
}

// The score of a falling_key, -0 as 0.
TETRAD_HD inline float score_of_key(std::uint32_t key) {
  return nvfp4::bits_float((key >> 31) != 0 ? key : ~key & 0x7FFFFFFFu);
}

// What the weights up to the cut of top_p must reach: the share of `total`, rounded up, and at least 1.
TETRAD_HD inline std::uint64_t share_of(std::uint64_t total, std::uint64_t top_p) {
  const Wide product = multiply(total, top_p);
  const std::uint64_t share = product.high + (product.low != 0 ? 1 : 0);
  return share > 0 ? share : 1;
}

// Draw number `draw` of a seed, 64 bits: SplitMix64's finaliser (Steele et al. 2014) over both, so that a
// draw can be repeated alone.
TETRAD_HD inline std::uint64_t sampling_bits(std::uint64_t seed, std::uint64_t draw) {
  std::uint64_t z = seed * 0x9E3779B97F4A7C15ULL + (draw + 1) * 0xD1B54A32D192ED03ULL;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31);
}

// The place in [0, total) that the draw falls on: the token is the first whose weights so far are above it.
TETRAD_HD inline std::uint64_t sampling_target(std::uint64_t total, std::uint64_t bits) {
  return multiply(total, bits).high;
}

}  // namespace tetrad::ops

// Compiled once per vector target by foreach_target. Keys and values are read once for all queries of a call.
#include "ops/simd_attention.h"

#include <algorithm>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/simd_attention.cpp"
#include "nvfp4/simd_targets.h"  // before Highway: it says which targets to leave out

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <hwy/contrib/math/math-inl.h>

#include "ops/simd_values.h"

HWY_BEFORE_NAMESPACE();
namespace tetrad::ops::HWY_NAMESPACE {

// exp(x - most) over the row in place; returns the sum. Highway's exp is 0 far below -87.
float exponentiate(float* row, std::int64_t n, float most) {
  const F df;
  const auto step = static_cast<std::int64_t>(hn::Lanes(df));
  const V top = hn::Set(df, most);
  V sum = hn::Zero(df);
  std::int64_t j = 0;
  for (; j + step <= n; j += step) {
    const V e = hn::Exp(df, hn::Sub(load(row + j), top));
    store(e, row + j);
    sum = hn::Add(sum, e);
  }
  float rest = hn::GetLane(hn::SumOfLanes(df, sum));
  if (j < n) {
    float padded[16];
    std::fill(padded, padded + 16, most);
    std::copy(row + j, row + n, padded);
    store(hn::Exp(df, hn::Sub(load(padded), top)), padded);
    for (std::int64_t i = j; i < n; ++i) rest += row[i] = padded[i - j];
  }
  return rest;
}

constexpr int kKeys = 4;  // keys whose scores are summed up together

// out[i] = sum of the lanes of v[i].
HWY_INLINE void sums_of_lanes(const V (&v)[kKeys], float* out) {
#if HWY_TARGET == HWY_SCALAR
  for (int i = 0; i < kKeys; ++i) out[i] = hn::GetLane(v[i]);
#else
  const F df;
  // Within each block of four lanes the four vectors are transposed while they are added up.
  const hn::Repartition<std::uint64_t, F> du64;
  const V ab = hn::Add(hn::InterleaveLower(df, v[0], v[1]), hn::InterleaveUpper(df, v[0], v[1]));
  const V cd = hn::Add(hn::InterleaveLower(df, v[2], v[3]), hn::InterleaveUpper(df, v[2], v[3]));
  const auto ab64 = hn::BitCast(du64, ab), cd64 = hn::BitCast(du64, cd);
  V sum = hn::Add(hn::BitCast(df, hn::InterleaveLower(du64, ab64, cd64)),
                  hn::BitCast(df, hn::InterleaveUpper(du64, ab64, cd64)));
  if constexpr (hn::MaxLanes(F()) > 4) sum = hn::Add(sum, hn::SwapAdjacentBlocks(sum));
  if constexpr (hn::MaxLanes(F()) > 8) sum = hn::Add(sum, hn::ReverseBlocks(df, sum));
  HWY_ALIGN float all[hn::MaxLanes(F())];
  hn::Store(sum, df, all);
  std::copy(all, all + kKeys, out);
#endif
}

// scores[i * keys + j] = scale * q_i . k_j; most[i] = the largest, or NaN when one is.
template <int Q, class T>
HWY_INLINE void score_keys(const T* q, const T* k, std::int64_t k_stride, std::int64_t keys, std::int64_t dim,
                           float scale, float* scores, float* most) {
  const F df;
  const auto step = static_cast<std::int64_t>(hn::Lanes(df));
  std::fill(most, most + Q, -std::numeric_limits<float>::infinity());
  for (std::int64_t j = 0; j < keys; j += kKeys) {
    V sum[Q][kKeys];
    const T* key[kKeys];
    // Behind the end the last key is taken again and its score dropped.
    for (int n = 0; n < kKeys; ++n) key[n] = k + std::min(j + n, keys - 1) * k_stride;
    TETRAD_UNROLL
    for (int i = 0; i < Q; ++i) {
      TETRAD_UNROLL
      for (int n = 0; n < kKeys; ++n) sum[i][n] = hn::Zero(df);
    }
    for (std::int64_t d = 0; d < dim; d += step) {
      V part[kKeys];
      TETRAD_UNROLL
      for (int n = 0; n < kKeys; ++n) part[n] = load(key[n] + d);
      TETRAD_UNROLL
      for (int i = 0; i < Q; ++i) {
        const V query = load(q + i * dim + d);
        TETRAD_UNROLL
        for (int n = 0; n < kKeys; ++n) sum[i][n] = hn::MulAdd(part[n], query, sum[i][n]);
      }
    }
    TETRAD_UNROLL
    for (int i = 0; i < Q; ++i) {
      float score[kKeys];
      sums_of_lanes(sum[i], score);
      for (std::int64_t n = 0; n < std::min<std::int64_t>(kKeys, keys - j); ++n) {
        const float s = scale * score[n];
        scores[i * keys + j + n] = s;
        most[i] = s > most[i] || s != s ? s : most[i];
      }
    }
  }
}

// D vectors of every query's output.
template <int Q, int D, class T>
HWY_INLINE void add_values(const T* v, std::int64_t v_stride, std::int64_t keys, const float* scores,
                           const float* inverse, std::int64_t dim, T* out) {
  const F df;
  const auto step = static_cast<std::int64_t>(hn::Lanes(df));
  V sum[Q][D];
  TETRAD_UNROLL
  for (int i = 0; i < Q; ++i) {
    TETRAD_UNROLL
    for (int d = 0; d < D; ++d) sum[i][d] = hn::Zero(df);
  }
  for (std::int64_t j = 0; j < keys; ++j) {
    V part[D];
    TETRAD_UNROLL
    for (int d = 0; d < D; ++d) part[d] = load(v + j * v_stride + d * step);
    TETRAD_UNROLL
    for (int i = 0; i < Q; ++i) {
      const V weight = hn::Set(df, scores[i * keys + j]);
      TETRAD_UNROLL
      for (int d = 0; d < D; ++d) sum[i][d] = hn::MulAdd(part[d], weight, sum[i][d]);
    }
  }
  TETRAD_UNROLL
  for (int i = 0; i < Q; ++i) {
    TETRAD_UNROLL
    for (int d = 0; d < D; ++d) store(hn::Mul(sum[i][d], hn::Set(df, inverse[i])), out + i * dim + d * step);
  }
}

template <int Q, class T>
void attend(const T* q, const T* k, std::int64_t k_stride, const T* v, std::int64_t v_stride,
            std::int64_t keys, std::int64_t dim, float scale, float* scores, T* out) {
  constexpr int kVectors = 4;
  const auto step = static_cast<std::int64_t>(hn::Lanes(F()));
  float most[Q], inverse[Q];
  score_keys<Q>(q, k, k_stride, keys, dim, scale, scores, most);
  for (int i = 0; i < Q; ++i) inverse[i] = 1.0f / exponentiate(scores + i * keys, keys, most[i]);
  std::int64_t d = 0;
  for (; d + kVectors * step <= dim; d += kVectors * step)
    add_values<Q, kVectors>(v + d, v_stride, keys, scores, inverse, dim, out + d);
  for (; d < dim; d += step) add_values<Q, 1>(v + d, v_stride, keys, scores, inverse, dim, out + d);
}

template <class T>
void attend_any(const T* q, std::int64_t queries, const T* k, std::int64_t k_stride, const T* v,
                std::int64_t v_stride, std::int64_t keys, std::int64_t dim, float scale, float* scores,
                T* out) {
  switch (queries) {
    case 1:
      return attend<1>(q, k, k_stride, v, v_stride, keys, dim, scale, scores, out);
    case 2:
      return attend<2>(q, k, k_stride, v, v_stride, keys, dim, scale, scores, out);
    case 3:
      return attend<3>(q, k, k_stride, v, v_stride, keys, dim, scale, scores, out);
    default:
      return attend<4>(q, k, k_stride, v, v_stride, keys, dim, scale, scores, out);
  }
}

void attend_float(const float* q, std::int64_t queries, const float* k, std::int64_t k_stride, const float* v,
                  std::int64_t v_stride, std::int64_t keys, std::int64_t dim, float scale, float* scores,
                  float* out) {
  attend_any(q, queries, k, k_stride, v, v_stride, keys, dim, scale, scores, out);
}
void attend_bf16(const Bf16* q, std::int64_t queries, const Bf16* k, std::int64_t k_stride, const Bf16* v,
                 std::int64_t v_stride, std::int64_t keys, std::int64_t dim, float scale, float* scores,
                 Bf16* out) {
  attend_any(q, queries, k, k_stride, v, v_stride, keys, dim, scale, scores, out);
}

}  // namespace tetrad::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tetrad::ops::simd {

HWY_EXPORT(attend_float);
HWY_EXPORT(attend_bf16);

void attend_one(const float* q, std::int64_t queries, const float* k, std::int64_t k_stride, const float* v,
                std::int64_t v_stride, std::int64_t keys, std::int64_t dim, float scale, float* scores,
                float* out) {
  HWY_DYNAMIC_DISPATCH(attend_float)(q, queries, k, k_stride, v, v_stride, keys, dim, scale, scores, out);
}
void attend_one(const Bf16* q, std::int64_t queries, const Bf16* k, std::int64_t k_stride, const Bf16* v,
                std::int64_t v_stride, std::int64_t keys, std::int64_t dim, float scale, float* scores,
                Bf16* out) {
  HWY_DYNAMIC_DISPATCH(attend_bf16)(q, queries, k, k_stride, v, v_stride, keys, dim, scale, scores, out);
}

}  // namespace tetrad::ops::simd
#endif  // HWY_ONCE

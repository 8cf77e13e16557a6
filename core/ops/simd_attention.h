// The CPU kernel behind attention.h for one query: fp32 scores, softmax and sums over keys and values of
// float or Bf16, chosen at run time for the machine's vector unit.
#pragma once

#include <tetrad/nvfp4/half.h>

#include <cstdint>

namespace tetrad::ops::simd {

using nvfp4::Bf16;

// Queries of one call at most; a group of query heads that shares a KV head is cut into such calls.
inline constexpr std::int64_t kMaxQueries = 4;

// One KV head: `queries` (1..4) vectors q[i * dim], keys k[j * k_stride] and values v[j * v_stride] for j in
// [0, keys), all of `dim` contiguous elements. out[i * dim] = sum_j softmax_j(scale * q_i . k_j) v_j, rounded
// once. dim is a multiple of 16. scores: room for queries * keys floats.
void attend_one(const float* q, std::int64_t queries, const float* k, std::int64_t k_stride, const float* v,
                std::int64_t v_stride, std::int64_t keys, std::int64_t dim, float scale, float* scores,
                float* out);
void attend_one(const Bf16* q, std::int64_t queries, const Bf16* k, std::int64_t k_stride, const Bf16* v,
                std::int64_t v_stride, std::int64_t keys, std::int64_t dim, float scale, float* scores,
                Bf16* out);

}  // namespace tetrad::ops::simd

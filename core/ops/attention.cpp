#include "ops/attention.h"

#include "device/cuda_ops.h"

#include "ops/cpu_dispatch.h"
#include "ops/simd_attention.h"

#include <ATen/Parallel.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/softmax.h>

#include <limits>
#include <optional>
#include <vector>

namespace tetrad::ops {
namespace {

// bool [T, S], true where query i may look at key j: j <= S - T + i.
at::Tensor bottom_right_mask(std::int64_t queries, std::int64_t keys, at::Device device) {
  const auto options = at::TensorOptions().dtype(at::kLong).device(device);
  const at::Tensor last_visible = at::arange(keys - queries, keys, options).unsqueeze(1);
  return at::arange(keys, options).unsqueeze(0).le(last_visible);
}

// [kv_heads, S, D] -> [1, heads, S, D] without copying.
at::Tensor per_query_head(const at::Tensor& kv, std::int64_t heads) {
  const std::int64_t kv_heads = kv.size(0), keys = kv.size(1), dim = kv.size(2);
  if (kv_heads == heads) return kv.unsqueeze(0);
  return kv.unsqueeze(1).expand({kv_heads, heads / kv_heads, keys, dim}).reshape({1, heads, keys, dim});
}

// One query: the heads of a group are rows of one small product, so keys and values are read once per KV
// head.
at::Tensor single_query(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, double scale) {
  const std::int64_t kv_heads = k.size(0), heads = q.size(1), dim = q.size(2);
  const at::Tensor grouped = q.to(at::kFloat).mul(scale).view({kv_heads, heads / kv_heads, dim});
  const at::Tensor scores = at::bmm(grouped, k.to(at::kFloat).transpose(1, 2));
  return at::bmm(at::softmax(scores, -1), v.to(at::kFloat)).view({1, heads * dim}).to(q.scalar_type());
}

// Strided as a KV policy gives it, each vector contiguous.
bool for_attention(const at::Tensor& kv, at::ScalarType dtype) {
  return kv.device().is_cpu() && kv.scalar_type() == dtype && kv.stride(2) == 1;
}

bool takes_kernel(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  return q.size(0) == 1 && for_kernel(q) && for_attention(k, q.scalar_type()) &&
         for_attention(v, q.scalar_type()) && q.size(2) % 16 == 0;
}

// The query heads that share a KV head go through its keys and values together, up to kMaxQueries of them.
at::Tensor single_query_kernel(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, double scale) {
  const std::int64_t kv_heads = k.size(0), heads = q.size(1), dim = q.size(2), keys = k.size(1);
  const std::int64_t group = heads / kv_heads, calls = (group + simd::kMaxQueries - 1) / simd::kMaxQueries;
  const at::Tensor out = at::empty({1, heads * dim}, q.options());
  const std::int64_t grain = std::max<std::int64_t>(1, 32768 / std::max<std::int64_t>(keys * dim, 1));
  with_element(q.scalar_type(), [&](auto* tag) {
    using T = std::remove_pointer_t<decltype(tag)>;
    at::parallel_for(0, kv_heads * calls, grain, [&](std::int64_t begin, std::int64_t end) {
      thread_local std::vector<float> scores;
      scores.resize(std::max(scores.size(), static_cast<std::size_t>(simd::kMaxQueries * keys)));
      for (std::int64_t i = begin; i < end; ++i) {
        const std::int64_t kv = i / calls, first = i % calls * simd::kMaxQueries;
        const std::int64_t at = (kv * group + first) * dim;
        simd::attend_one(values<T>(q) + at, std::min(simd::kMaxQueries, group - first),
                         values<T>(k) + kv * k.stride(0), k.stride(1), values<T>(v) + kv * v.stride(0),
                         v.stride(1), keys, dim, static_cast<float>(scale), scores.data(),
                         mutable_values<T>(out) + at);
      }
    });
  });
  return out;
}

}  // namespace

at::Tensor causal_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, double scale) {
  const std::int64_t queries = q.size(0), heads = q.size(1), dim = q.size(2), keys = k.size(1);
  if (takes_kernel(q, k, v)) return single_query_kernel(q, k, v, scale);
  if (device::CudaOps* cuda = device::cuda_ops_for(q);
      cuda != nullptr && cuda->takes_decode_attention(q, k, v)) {
    const at::Tensor out = at::empty({1, heads * dim}, q.options());
    cuda->decode_attention(q, k, v, scale, {}, out);
    return out;
  }
  if (queries == 1 && q.device().is_cpu()) return single_query(q, k, v, scale);
  const at::Tensor query = q.transpose(0, 1).unsqueeze(0);
  const at::Tensor key = per_query_head(k, heads), value = per_query_head(v, heads);
  std::optional<at::Tensor> mask;
  if (queries != keys && queries != 1) mask = bottom_right_mask(queries, keys, q.device());
  const at::Tensor out =
      at::scaled_dot_product_attention(query, key, value, mask, /*dropout_p=*/0.0,
                                       /*is_causal=*/queries == keys && queries != 1, scale);
  return out.squeeze(0).transpose(0, 1).reshape({queries, heads * dim});
}

at::Tensor causal_attention_reference(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                      double scale) {
  const std::int64_t queries = q.size(0), heads = q.size(1), dim = q.size(2), keys = k.size(1);
  const at::Tensor key = per_query_head(k, heads).squeeze(0).to(at::kFloat);
  const at::Tensor value = per_query_head(v, heads).squeeze(0).to(at::kFloat);
  at::Tensor scores = at::bmm(q.transpose(0, 1).to(at::kFloat).mul(scale), key.transpose(1, 2));
  scores = scores.masked_fill(bottom_right_mask(queries, keys, q.device()).logical_not(),
                              -std::numeric_limits<double>::infinity());
  const at::Tensor out = at::bmm(at::softmax(scores, -1), value);
  return out.transpose(0, 1).reshape({queries, heads * dim}).to(q.scalar_type());
}

}  // namespace tetrad::ops

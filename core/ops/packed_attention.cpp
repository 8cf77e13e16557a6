#include "ops/packed_attention.h"

#include <ATen/Context.h>
#include <ATen/ops/_flash_attention_backward.h>
#include <ATen/ops/_flash_attention_forward.h>
#include <ATen/ops/_scaled_dot_product_cudnn_attention.h>
#include <ATen/ops/_scaled_dot_product_cudnn_attention_backward.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu_backward.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/tril.h>
#include <tetrad/base/error.h>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

namespace tetrad::ops {
namespace {

at::ScalarType wide_of(const at::Tensor& t) {
  return t.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

// Rows [begin, begin + length) of x [T, n, dim] as [n, length, dim], without a copy.
at::Tensor document(const at::Tensor& x, const Segment& s) {
  return x.narrow(0, s.begin, s.length).transpose(0, 1);
}

// [kv_heads, L, D] -> [heads, L, D]: every query head of a group sees its KV head.
at::Tensor per_query_head(const at::Tensor& kv, std::int64_t heads) {
  const std::int64_t kv_heads = kv.size(0), length = kv.size(1), dim = kv.size(2);
  if (kv_heads == heads) return kv;
  return kv.unsqueeze(1).expand({kv_heads, heads / kv_heads, length, dim}).reshape({heads, length, dim});
}

// The other way for a gradient: the sum over the heads of a group, in fp32.
at::Tensor per_kv_head(const at::Tensor& grad, std::int64_t kv_heads) {
  const std::int64_t heads = grad.size(0), length = grad.size(1), dim = grad.size(2);
  if (kv_heads == heads) return grad;
  return at::sum(grad.reshape({kv_heads, heads / kv_heads, length, dim}), at::IntArrayRef{1}, false,
                 wide_of(grad));
}

void store(const at::Tensor& out, const Segment& s, const at::Tensor& heads_first) {
  out.narrow(0, s.begin, s.length).copy_(heads_first.transpose(0, 1));
}

at::Tensor hidden_future(std::int64_t length, at::Device device) {
  return at::ones({length, length}, at::TensorOptions().dtype(at::kBool).device(device))
      .tril_()
      .logical_not();
}

bool takes_cuda_flash(const at::Tensor& q) {
  return q.is_cuda() && (q.scalar_type() == at::kBFloat16 || q.scalar_type() == at::kHalf) &&
         q.size(2) % 8 == 0 && q.size(2) <= 256;
}

// cuDNN plans anew for every length that it meets, which takes longer than it saves: by default it has the
// windows of a text, whose length is one round number.
bool cudnn_is_wanted(const PackedDocuments& documents) {
  const char* text = std::getenv("TETRAD_TRAIN_ATTENTION");
  const std::string_view said = text == nullptr ? "" : text;
  const bool there = at::globalContext().hasCuDNN();
  if (said == "cudnn" && !there)
    throw Error(ExitCode::usage,
                "[attention] TETRAD_TRAIN_ATTENTION is cudnn, but this libtorch has no cuDNN");
  if (said == "cudnn") return true;
  if (said == "flash") return false;
  if (!said.empty())
    throw Error(ExitCode::usage, "[attention] TETRAD_TRAIN_ATTENTION is '" + std::string(said) +
                                     "'; it takes flash or cudnn, or is left out");
  return there && documents.longest % 128 == 0;
}

// libtorch has no deterministic form of cuDNN's backward, and says nothing when it is asked for one.
bool takes_cudnn(const at::Tensor& q, const PackedDocuments& documents) {
  return takes_cuda_flash(q) && q.size(2) <= 128 && documents.uniform && documents.longest > 1 &&
         cudnn_is_wanted(documents) && !at::globalContext().deterministicAlgorithms();
}

// x [T, heads, dim] of documents of one length as [documents, heads, length, dim], without a copy.
at::Tensor batched(const at::Tensor& x, const PackedDocuments& documents) {
  return x.view({-1, documents.longest, x.size(1), x.size(2)}).transpose(1, 2);
}
at::Tensor unbatched(const at::Tensor& x) {
  return x.transpose(1, 2).reshape({x.size(0) * x.size(2), x.size(1), x.size(3)});
}

bool takes_cpu_flash(const at::Tensor& q) {
  return q.device().is_cpu() && q.scalar_type() != at::kDouble;
}

}  // namespace

PackedDocuments PackedDocuments::make(std::vector<Segment> segments, at::Device device) {
  PackedDocuments documents;
  std::vector<int> starts = {0};
  for (const Segment& s : segments) {
    if (s.begin != documents.tokens || s.length < 1)
      throw Error("[attention] document " + std::to_string(starts.size() - 1) + " begins at " +
                  std::to_string(s.begin) + " with " + std::to_string(s.length) + " tokens, but " +
                  std::to_string(documents.tokens) + " tokens stand before it");
    documents.tokens += s.length;
    documents.longest = std::max(documents.longest, s.length);
    documents.uniform = documents.uniform && s.length == segments.front().length;
    starts.push_back(static_cast<int>(documents.tokens));
  }
  documents.starts = at::tensor(starts, at::kInt).to(device);
  documents.segments = std::move(segments);
  return documents;
}

Attended packed_attention_reference(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                    double scale, const PackedDocuments& documents) {
  const std::int64_t heads = q.size(1);
  const at::ScalarType wide = wide_of(q);
  Attended result;
  result.out = at::empty_like(q);
  result.lse = at::empty({heads, q.size(0)}, q.options().dtype(wide));
  for (const Segment& s : documents.segments) {
    const at::Tensor query = document(q, s).to(wide).mul(scale);
    const at::Tensor key = per_query_head(document(k, s), heads).to(wide);
    const at::Tensor value = per_query_head(document(v, s), heads).to(wide);
    const at::Tensor scores =
        at::bmm(query, key.transpose(1, 2))
            .masked_fill_(hidden_future(s.length, q.device()), -std::numeric_limits<double>::infinity());
    const at::Tensor lse = at::logsumexp(scores, at::IntArrayRef{-1}, /*keepdim=*/true);
    store(result.out, s, at::bmm(at::exp(scores.sub(lse)), value));
    result.lse.narrow(1, s.begin, s.length).copy_(lse.squeeze(-1));
  }
  return result;
}

AttentionGradient packed_attention_backward_reference(const at::Tensor& dout, const at::Tensor& q,
                                                      const at::Tensor& k, const at::Tensor& v,
                                                      const Attended& attended, double scale,
                                                      const PackedDocuments& documents) {
  const std::int64_t heads = q.size(1), kv_heads = k.size(1);
  const at::ScalarType wide = wide_of(q);
  AttentionGradient grad{at::empty_like(q), at::empty_like(k), at::empty_like(v)};
  for (const Segment& s : documents.segments) {
    const at::Tensor query = document(q, s).to(wide), up = document(dout, s).to(wide);
    const at::Tensor key = per_query_head(document(k, s), heads).to(wide);
    const at::Tensor value = per_query_head(document(v, s), heads).to(wide);
    const at::Tensor lse = attended.lse.narrow(1, s.begin, s.length).unsqueeze(-1);
    const at::Tensor p = at::exp(at::bmm(query, key.transpose(1, 2)).mul_(scale).sub_(lse))
                             .masked_fill_(hidden_future(s.length, q.device()), 0.0);
    // d(scores) = p * (dp - sum(dp * p)), and sum(dp * p) of a row is dout . out.
    const at::Tensor along = at::sum(up.mul(document(attended.out, s).to(wide)), at::IntArrayRef{-1}, true);
    const at::Tensor ds = at::bmm(up, value.transpose(1, 2)).sub_(along).mul_(p).mul_(scale);
    store(grad.dq, s, at::bmm(ds, key));
    store(grad.dk, s, per_kv_head(at::bmm(ds.transpose(1, 2), query), kv_heads));
    store(grad.dv, s, per_kv_head(at::bmm(p.transpose(1, 2), up), kv_heads));
  }
  return grad;
}

Attended packed_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, double scale,
                          const PackedDocuments& documents) {
  const std::int64_t heads = q.size(1);
  if (takes_cudnn(q, documents)) {
    const auto got = at::_scaled_dot_product_cudnn_attention(
        batched(q, documents), batched(k, documents), batched(v, documents), /*attn_bias=*/{},
        /*compute_log_sumexp=*/true, /*dropout_p=*/0.0, /*is_causal=*/true, /*return_debug_mask=*/false,
        scale);
    return {unbatched(std::get<0>(got)), std::get<1>(got), std::get<6>(got), std::get<7>(got), true};
  }
  if (takes_cuda_flash(q)) {
    auto [out, lse, seed, offset, debug] = at::_flash_attention_forward(
        q, k, v, documents.starts, documents.starts, documents.longest, documents.longest, /*dropout_p=*/0.0,
        /*is_causal=*/true, /*return_debug_mask=*/false, scale);
    return {out, lse, seed, offset, false};
  }
  if (!takes_cpu_flash(q)) return packed_attention_reference(q, k, v, scale, documents);
  Attended result;
  result.out = at::empty_like(q);
  result.lse = at::empty({heads, q.size(0)}, q.options().dtype(at::kFloat));
  for (const Segment& s : documents.segments) {
    const auto [out, lse] = at::_scaled_dot_product_flash_attention_for_cpu(
        document(q, s).unsqueeze(0), per_query_head(document(k, s), heads).unsqueeze(0),
        per_query_head(document(v, s), heads).unsqueeze(0), 0.0, /*is_causal=*/true, {}, scale);
    store(result.out, s, out.squeeze(0));
    result.lse.narrow(1, s.begin, s.length).copy_(lse.squeeze(0));
  }
  return result;
}

AttentionGradient packed_attention_backward(const at::Tensor& dout, const at::Tensor& q, const at::Tensor& k,
                                            const at::Tensor& v, const Attended& attended, double scale,
                                            const PackedDocuments& documents) {
  const std::int64_t heads = q.size(1), kv_heads = k.size(1);
  if (attended.by_cudnn) {
    const auto [dq, dk, dv] = at::_scaled_dot_product_cudnn_attention_backward(
        batched(dout, documents), batched(q, documents), batched(k, documents), batched(v, documents),
        batched(attended.out, documents), attended.lse, attended.seed, attended.offset, /*attn_bias=*/{},
        /*cum_seq_q=*/{}, /*cum_seq_k=*/{}, documents.longest, documents.longest, /*dropout_p=*/0.0,
        /*is_causal=*/true, scale);
    return {unbatched(dq), unbatched(dk), unbatched(dv)};
  }
  if (takes_cuda_flash(q)) {
    auto [dq, dk, dv] = at::_flash_attention_backward(
        dout, q, k, v, attended.out, attended.lse, documents.starts, documents.starts, documents.longest,
        documents.longest, /*dropout_p=*/0.0, /*is_causal=*/true, attended.seed, attended.offset, scale);
    return {dq, dk, dv};
  }
  if (!takes_cpu_flash(q))
    return packed_attention_backward_reference(dout, q, k, v, attended, scale, documents);
  AttentionGradient grad{at::empty_like(q), at::empty_like(k), at::empty_like(v)};
  for (const Segment& s : documents.segments) {
    const auto [dq, dk, dv] = at::_scaled_dot_product_flash_attention_for_cpu_backward(
        document(dout, s).unsqueeze(0), document(q, s).unsqueeze(0),
        per_query_head(document(k, s), heads).unsqueeze(0),
        per_query_head(document(v, s), heads).unsqueeze(0), document(attended.out, s).unsqueeze(0),
        attended.lse.narrow(1, s.begin, s.length).unsqueeze(0), 0.0, /*is_causal=*/true, {}, scale);
    store(grad.dq, s, dq.squeeze(0));
    store(grad.dk, s, per_kv_head(dk.squeeze(0), kv_heads));
    store(grad.dv, s, per_kv_head(dv.squeeze(0), kv_heads));
  }
  return grad;
}

}  // namespace tetrad::ops

// Causal grouped-query attention of new tokens over everything that the KV policy shows. The mask is aligned
// to the *last* key (bottom right): query i of T sees keys [0, S - T + i]. libtorch's is_causal aligns it to
// the first one and is wrong for a delta prefill, so it is used only where T == S.
#pragma once

#include <ATen/core/Tensor.h>

namespace tetrad::ops {

// q [T, heads, head_dim], k and v [kv_heads, S, head_dim] (strided), heads % kv_heads == 0, S >= T; one dtype
// and device. Returns [T, heads * head_dim].
at::Tensor causal_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, double scale);

// The same, written plainly with an explicit mask and an fp32 softmax: what tests compare against.
at::Tensor causal_attention_reference(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                      double scale);

}  // namespace tetrad::ops

// One token through the graph of transformer.h with nothing that a captured CUDA graph could not repeat: no
// host value but addresses enters the kernels. At most nine kernels a layer besides what the backend needs
// more than one for.
#include "device/cuda_ops.h"
#include "model/names.h"
#include "model/plugin_call.h"
#include "model/transformer.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include <cmath>

namespace tetrad::model {

bool Transformer::can_decode(KvPolicy& kv) const {
  device::CudaOps* ops = device::cuda_ops();
  if (ops == nullptr || !setup_.device.is_cuda() || blocks_.empty()) return false;
  if (setup_.dtype != at::kBFloat16 && setup_.dtype != at::kHalf) return false;
  at::Tensor keys, values;
  if (!kv.slots(0, keys, values).ok() || keys.size(1) < 1) return false;
  const at::Tensor query = at::empty({1, config_.num_attention_heads, config_.head_dim},
                                     at::TensorOptions().dtype(setup_.dtype).device(setup_.device));
  return ops->takes_decode_attention(query, keys, values);
}

void Transformer::reserve_positions(std::int64_t positions) {
  rope_.reserve(positions, setup_.dtype);
}

at::Tensor Transformer::decode(const at::Tensor& id, const at::Tensor& position, KvPolicy& kv) {
  device::CudaOps& ops = *device::cuda_ops();
  const double eps = config_.rms_norm_eps, scale = 1.0 / std::sqrt(static_cast<double>(config_.head_dim));
  const std::int64_t heads = config_.num_attention_heads, kv_heads = config_.num_key_value_heads,
                     dim = config_.head_dim;
  at::Tensor x;
  check(backend_.gather(embedding_.id, id, x), backend_id_, "gather of " + embedding_.parameter->name);
  at::Tensor normed = at::empty_like(x);
  ops.rms_norm(x, norm_weight(*blocks_.front().input_norm), eps, normed);
  const auto add = [&](const at::Tensor& delta, const Parameter& norm) {
    const at::Tensor sum = at::empty_like(x);
    normed = at::empty_like(x);
    ops.add_rms_norm(x, delta, norm_weight(norm), eps, sum, normed);
    x = sum;
  };
  for (std::int64_t layer = 0; layer < config_.num_hidden_layers; ++layer) {
    const auto at_layer = static_cast<std::size_t>(layer);
    const Block& block = blocks_[at_layer];
    const std::vector<at::Tensor> qkv = products({block.q, block.k, block.v}, normed, Pass::eval);
    device::Rotation r;
    r.q = qkv[0].view({1, heads, dim});
    r.k = qkv[1].view({1, kv_heads, dim});
    r.v = qkv[2].view({1, kv_heads, dim});
    if (config_.qk_norm) {
      r.q_weight = norm_weight(*block.q_norm);
      r.k_weight = norm_weight(*block.k_norm);
    }
    r.eps = eps;
    r.cos = rope_.cos();
    r.sin = rope_.sin();
    r.position = position;
    r.q_out = at::empty_like(r.q);
    check(kv.slots(layer, r.k_out, r.v_out), "kv_cache", "slots of layer " + std::to_string(layer));
    ops.rotate(r);
    const at::Tensor attended = at::empty({1, heads * dim}, x.options());
    ops.decode_attention(r.q_out, r.k_out, r.v_out, scale, position, attended);
    add(product(block.o, attended, Pass::eval), *block.post_norm);
    const std::vector<at::Tensor> mlp = products({block.gate, block.up}, normed, Pass::eval);
    const at::Tensor activated = at::empty_like(mlp[0]);
    ops.silu_mul(mlp[0], mlp[1], activated);
    const bool last = layer + 1 == config_.num_hidden_layers;
    add(product(block.down, activated, Pass::eval), last ? *final_norm_ : *blocks_[at_layer + 1].input_norm);
  }
  return logits(normed, Pass::eval);
}

}  // namespace tetrad::model

#include "model/transformer.h"

#include "model/names.h"
#include "model/plugin_call.h"
#include "model/rope.h"
#include "ops/activation.h"
#include "ops/attention.h"
#include "ops/norm.h"

#include <ATen/ops/empty.h>
#include <tetrad/nvfp4/plane_codec.h>

#include <cmath>
#include <utility>

namespace tetrad::model {
namespace {

void show(ForwardObserver* observer, std::int64_t layer, std::string_view name, const at::Tensor& value) {
  if (observer != nullptr) observer->seen(layer, name, value);
}

ops::RopeTable make_rope(const ModelConfig& config, at::Device device) {
  const RopeFrequencies rope = rope_inverse_frequencies(config);
  return {rope.inv_freq, rope.attention_scaling, device};
}

// A norm that an optimizer keeps in NVFP4 planes, in fp32 on the host: it is short.
at::Tensor decoded_norm(const Parameter& parameter) {
  const Planes& planes = parameter.planes;
  if (!planes.codes.defined() || !planes.scales.defined())
    throw Error("[model] norm '" + parameter.name + "' has neither dense values nor planes");
  const auto on_host = [](const at::Tensor& t) { return t.defined() ? t.cpu().contiguous() : t; };
  const at::Tensor codes = on_host(planes.codes), scales = on_host(planes.scales),
                   lo = on_host(planes.lo_codes), lo2 = on_host(planes.lo2_codes);
  const auto bytes = [](const at::Tensor& t) {
    return t.defined() ? static_cast<const std::uint8_t*>(t.const_data_ptr()) : nullptr;
  };
  const at::Tensor values = at::empty(parameter.shape, at::TensorOptions().dtype(at::kFloat));
  nvfp4::dequantize_planes(nvfp4::PlanesView{bytes(codes), bytes(scales), bytes(lo), bytes(lo2)},
                           planes.decode_scale, nvfp4::PlaneValue::exact, 1, values.numel(),
                           static_cast<float*>(values.mutable_data_ptr()));
  return values;
}

}  // namespace

Transformer::Transformer(ModelConfig config, LoadedWeights weights, LinearBackend& backend,
                         std::string backend_id, LinearSetup setup)
    : config_(std::move(config)),
      weights_(std::move(weights)),
      backend_(backend),
      backend_id_(std::move(backend_id)),
      setup_(setup),
      rope_(make_rope(config_, setup.device)) {
  embedding_ = matrix(embedding_name);
  head_ = config_.tie_word_embeddings ? embedding_ : matrix(head_name);
  final_norm_ = &find(final_norm_name);
  for (std::int64_t layer = 0; layer < config_.num_hidden_layers; ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    Block block;
    block.input_norm = &find(prefix + "input_layernorm.weight");
    block.post_norm = &find(prefix + "post_attention_layernorm.weight");
    if (config_.qk_norm) {
      block.q_norm = &find(prefix + "self_attn.q_norm.weight");
      block.k_norm = &find(prefix + "self_attn.k_norm.weight");
    }
    block.q = matrix(prefix + "self_attn.q_proj.weight");
    block.k = matrix(prefix + "self_attn.k_proj.weight");
    block.v = matrix(prefix + "self_attn.v_proj.weight");
    block.o = matrix(prefix + "self_attn.o_proj.weight");
    block.gate = matrix(prefix + "mlp.gate_proj.weight");
    block.up = matrix(prefix + "mlp.up_proj.weight");
    block.down = matrix(prefix + "mlp.down_proj.weight");
    blocks_.push_back(block);
  }
}

const Parameter& Transformer::find(const std::string& name) const {
  for (const Parameter& parameter : weights_.parameters) {
    if (parameter.name == name) return parameter;
  }
  throw Error("[model] parameter '" + name + "' was not loaded");
}

Transformer::Matrix Transformer::matrix(const std::string& name) const {
  return {weights_.prepared.at(name), &find(name)};
}

std::vector<at::Tensor> Transformer::products(std::initializer_list<Matrix> matrices, const at::Tensor& x,
                                              Pass pass) {
  std::vector<WeightId> ids;
  for (const Matrix& matrix : matrices) ids.push_back(matrix.id);
  std::vector<at::Tensor> results;
  const auto what = [&] { return "forward of " + matrices.begin()->parameter->name; };
  if (const Status status = backend_.forward(ids, x, pass, results); !status.ok())
    check(status, backend_id_, what());
  if (const std::string problem = broken_contract(matrices, x, results); !problem.empty())
    throw Error("[" + backend_id_ + "] " + what() + ": " + problem + "; the plugin broke its contract");
  return results;
}

// What a backend that answered "ok" did not do; the shapes below are read without further checks.
std::string Transformer::broken_contract(std::initializer_list<Matrix> matrices, const at::Tensor& x,
                                         const std::vector<at::Tensor>& results) const {
  if (results.size() != matrices.size())
    return std::to_string(results.size()) + " results for " + std::to_string(matrices.size()) + " weights";
  auto result = results.begin();
  for (const Matrix& matrix : matrices) {
    const at::Tensor& y = *result++;
    const std::string& name = matrix.parameter->name;
    const std::int64_t rows = x.size(0), columns = matrix.parameter->shape[0];
    if (!y.defined()) return "no result for " + name;
    if (y.dim() == 2 && y.size(0) == rows && y.size(1) == columns && y.scalar_type() == setup_.dtype)
      continue;
    std::string shape;
    for (const std::int64_t extent : y.sizes()) shape += (shape.empty() ? "" : ", ") + std::to_string(extent);
    return "a result of [" + shape + "] instead of [" + std::to_string(rows) + ", " +
           std::to_string(columns) + "] for " + name +
           (y.scalar_type() == setup_.dtype ? "" : ", of another dtype than the run's");
  }
  return {};
}

at::Tensor Transformer::product(const Matrix& matrix, const at::Tensor& x, Pass pass) {
  return std::move(products({matrix}, x, pass).front());
}

at::Tensor Transformer::attention(std::int64_t layer, const at::Tensor& q, const at::Tensor& k,
                                  const at::Tensor& v, KvPolicy& kv) {
  check(kv.write(layer, k, v), "kv_cache", "write of layer " + std::to_string(layer));
  const double scale = 1.0 / std::sqrt(static_cast<double>(config_.head_dim));
  if ((kv.capabilities() & kv_native_attend) != 0) {
    at::Tensor out;
    check(kv.attend(layer, q, scale, out), "kv_cache", "attend of layer " + std::to_string(layer));
    return out.reshape({q.size(0), q.size(1) * q.size(2)});
  }
  at::Tensor keys, values;
  check(kv.view(layer, keys, values), "kv_cache", "view of layer " + std::to_string(layer));
  return ops::causal_attention(q, keys, values, scale);
}

at::Tensor Transformer::run_block(std::int64_t layer, at::Tensor& x, const at::Tensor& normed,
                                  std::int64_t begin, KvPolicy& kv, Pass pass, ForwardObserver* observer) {
  const Block& block = blocks_[static_cast<std::size_t>(layer)];
  const std::int64_t tokens = x.size(0);
  const std::vector<at::Tensor> qkv = products({block.q, block.k, block.v}, normed, pass);
  show(observer, layer, "q_proj", qkv[0]);
  show(observer, layer, "k_proj", qkv[1]);
  show(observer, layer, "v_proj", qkv[2]);
  const at::Tensor v = qkv[2].view({tokens, config_.num_key_value_heads, config_.head_dim});
  const auto [q, k] = rope_.norm_and_apply(
      qkv[0].view({tokens, config_.num_attention_heads, config_.head_dim}),
      qkv[1].view({tokens, config_.num_key_value_heads, config_.head_dim}),
      config_.qk_norm ? norm_weight(*block.q_norm) : at::Tensor(),
      config_.qk_norm ? norm_weight(*block.k_norm) : at::Tensor(), config_.rms_norm_eps, begin);
  show(observer, layer, "q_rotated", q);
  show(observer, layer, "k_rotated", k);

  const at::Tensor attended = attention(layer, q, k, v, kv);
  show(observer, layer, "attention", attended);
  const at::Tensor projected = product(block.o, attended, pass);
  show(observer, layer, "o_proj", projected);
  ops::Normed post = ops::add_rms_norm(x, projected, norm_weight(*block.post_norm), config_.rms_norm_eps);
  x = std::move(post.sum);
  show(observer, layer, "post_attention_layernorm", post.normed);

  const std::vector<at::Tensor> mlp = products({block.gate, block.up}, post.normed, pass);
  show(observer, layer, "gate_proj", mlp[0]);
  show(observer, layer, "up_proj", mlp[1]);
  const at::Tensor activated = ops::silu_mul(mlp[0], mlp[1]);
  show(observer, layer, "silu_mul", activated);
  at::Tensor down = product(block.down, activated, pass);
  show(observer, layer, "down_proj", down);
  return down;
}

at::Tensor Transformer::forward(const at::Tensor& ids, std::int64_t begin, KvPolicy& kv, Pass pass,
                                ForwardObserver* observer) {
  at::Tensor x;
  check(backend_.gather(embedding_.id, ids, x), backend_id_, "gather of " + embedding_.parameter->name);
  show(observer, -1, "embed_tokens", x);
  const std::int64_t layers = config_.num_hidden_layers;
  at::Tensor normed = ops::rms_norm(x, norm_weight(layers > 0 ? *blocks_.front().input_norm : *final_norm_),
                                    config_.rms_norm_eps);
  for (std::int64_t layer = 0; layer < layers; ++layer) {
    show(observer, layer, "input_layernorm", normed);
    const at::Tensor down = run_block(layer, x, normed, begin, kv, pass, observer);
    // The addition that ends a block and the norm that begins the next one are one step.
    const Parameter* next =
        layer + 1 < layers ? blocks_[static_cast<std::size_t>(layer + 1)].input_norm : final_norm_;
    ops::Normed step = ops::add_rms_norm(x, down, norm_weight(*next), config_.rms_norm_eps);
    x = std::move(step.sum);
    normed = std::move(step.normed);
    show(observer, layer, "residual", x);
  }
  show(observer, layers, "norm", normed);
  return normed;
}

at::Tensor Transformer::logits(const at::Tensor& hidden, Pass pass) {
  return product(head_, hidden, pass).to(at::kFloat);
}

const at::Tensor& Transformer::norm_weight(const Parameter& parameter) {
  if (parameter.dense.defined() && parameter.dense.scalar_type() == setup_.dtype) return parameter.dense;
  Narrowed& narrowed = narrowed_norms_[&parameter];
  if (narrowed.values.defined() && narrowed.version == parameter.version) return narrowed.values;
  const at::Tensor values = parameter.dense.defined() ? parameter.dense : decoded_norm(parameter);
  if (narrowed.values.defined())
    narrowed.values.copy_(values);
  else
    narrowed.values = values.to(setup_.device, setup_.dtype);
  narrowed.version = parameter.version;
  return narrowed.values;
}

std::uint64_t Transformer::weight_version() const noexcept {
  std::uint64_t sum = 0;
  for (const Parameter& parameter : weights_.parameters) sum += parameter.version;
  return sum;
}

}  // namespace tetrad::model

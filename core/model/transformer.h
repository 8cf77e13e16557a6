// The Qwen3/Llama decoder graph, one for both paths: embedding -> blocks -> final norm -> head. Every matrix
// product goes through the LinearBackend, keys and values through the KvPolicy; the rest is core/ops. Which
// path runs, and whether the weights are packed, is the backend's business alone.
//
// Block: rms_norm -> q, k, v -> (Qwen3: per-head rms_norm of q and k) -> RoPE -> attention -> o -> residual
// -> rms_norm -> silu(gate) * up -> down -> residual.
#pragma once

#include "model/config.h"
#include "model/loader.h"
#include "ops/rope.h"

#include <ATen/core/Tensor.h>
#include <tetrad/torch/kv_policy.h>
#include <tetrad/torch/linear.h>
#include <tetrad/torch/parameter.h>

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace tetrad::model {

// Sees every intermediate tensor of a forward pass, in order. For naming the first non-finite tensor and for
// parity.
class ForwardObserver {
 public:
  virtual ~ForwardObserver() = default;
  // layer: 0-based block, -1 before the first, `layers` after the last. tensor: e.g. "q_proj", "attention",
  // "residual".
  virtual void seen(std::int64_t layer, std::string_view tensor, const at::Tensor& value) = 0;
};

class Transformer {
 public:
  struct Matrix {
    WeightId id = -1;
    const Parameter* parameter = nullptr;
  };
  struct Block {
    Matrix q, k, v, o, gate, up, down;
    const Parameter *input_norm = nullptr, *post_norm = nullptr, *q_norm = nullptr, *k_norm = nullptr;
  };

  // Takes weights as load_weights() gives them, for the same config, backend and setup. The backend must
  // outlive the transformer.
  Transformer(ModelConfig config, LoadedWeights weights, LinearBackend& backend, std::string backend_id,
              LinearSetup setup);

  // Final hidden states, normalised, of `ids` (int64 [T], on the device) as the tokens that follow what `kv`
  // holds, at positions [begin, begin + T). kv must have been prepared for T tokens; nothing is committed
  // here. Returns [T, hidden]. Throws Error naming plugin and parameter when a plugin fails.
  at::Tensor forward(const at::Tensor& ids, std::int64_t begin, KvPolicy& kv, Pass pass,
                     ForwardObserver* observer = nullptr);

  // One token on a CUDA device, ready to be captured (transformer_decode.cpp): id and position int64 [1] on
  // the device, keys and values to kv's slots; logits fp32 [1, vocab]. can_decode() first, which needs kv to
  // hold a token or be prepared for one, and reserve_positions() for every position to come.
  at::Tensor decode(const at::Tensor& id, const at::Tensor& position, KvPolicy& kv);
  bool can_decode(KvPolicy& kv) const;
  void reserve_positions(std::int64_t positions);

  // hidden [T, hidden] -> logits fp32 [T, vocab].
  at::Tensor logits(const at::Tensor& hidden, Pass pass);

  const ModelConfig& config() const noexcept { return config_; }
  const LinearSetup& setup() const noexcept { return setup_; }
  const std::deque<Parameter>& parameters() const noexcept { return weights_.parameters; }
  LinearBackend& backend() noexcept { return backend_; }
  const std::string& backend_id() const noexcept { return backend_id_; }
  // The parts, for the training graph (core/train), which runs them with gradients.
  const std::vector<Block>& blocks() const noexcept { return blocks_; }
  const Matrix& embedding() const noexcept { return embedding_; }
  const Matrix& head() const noexcept { return head_; }
  const Parameter& final_norm() const noexcept { return *final_norm_; }
  ops::RopeTable& rope() noexcept { return rope_; }
  // For optimizers, which write weights and bump versions.
  std::deque<Parameter>& trainable() noexcept { return weights_.parameters; }
  // A norm's weight in the run's dtype, whatever an optimizer stores it in: the model is what 16 bits say.
  // Valid until the parameter changes; its address stays.
  const at::Tensor& norm_weight(const Parameter& parameter);

  // Sum of the parameters' versions: changes with every write to any weight, so that KV made before is known
  // to be stale.
  std::uint64_t weight_version() const noexcept;

 private:
  struct Narrowed {
    std::uint64_t version = 0;
    at::Tensor values;
  };

  const Parameter& find(const std::string& name) const;
  Matrix matrix(const std::string& name) const;
  std::vector<at::Tensor> products(std::initializer_list<Matrix> matrices, const at::Tensor& x, Pass pass);
  std::string broken_contract(std::initializer_list<Matrix> matrices, const at::Tensor& x,
                              const std::vector<at::Tensor>& results) const;
  at::Tensor product(const Matrix& matrix, const at::Tensor& x, Pass pass);
  at::Tensor attention(std::int64_t layer, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                       KvPolicy& kv);
  // One block from its normalised input; x is the residual stream, up to date but for the returned down_proj
  // output, which the caller adds.
  at::Tensor run_block(std::int64_t layer, at::Tensor& x, const at::Tensor& normed, std::int64_t begin,
                       KvPolicy& kv, Pass pass, ForwardObserver* observer);

  ModelConfig config_;
  LoadedWeights weights_;
  LinearBackend& backend_;
  std::string backend_id_;
  LinearSetup setup_;
  ops::RopeTable rope_;
  Matrix embedding_, head_;
  const Parameter* final_norm_ = nullptr;
  std::vector<Block> blocks_;
  std::unordered_map<const Parameter*, Narrowed> narrowed_norms_;
};

}  // namespace tetrad::model

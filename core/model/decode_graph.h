// One decode step as a captured CUDA graph: the token's id and position lie on the device, keys and values go
// straight to the policy's slots, and the whole pass (transformer_decode.cpp) is replayed with one launch. A
// graph holds addresses, so it is captured anew whenever the policy's graph_epoch, the backend's weight_epoch
// or the weights themselves have changed. TETRAD_CUDA_GRAPH=0 in the environment switches it off, for
// comparisons. Its results are those of Transformer::forward, bit for bit (gpu_model compares them).
#pragma once

#include "device/cuda_ops.h"
#include "model/transformer.h"

#include <ATen/core/Tensor.h>
#include <tetrad/torch/kv_policy.h>

#include <cstdint>
#include <memory>

namespace tetrad::model {

class DecodeGraph {
 public:
  // Null where it cannot serve: no CUDA device, a dtype or head size that the kernels do not take, or a
  // policy without slots. Both must outlive it.
  static std::unique_ptr<DecodeGraph> make(Transformer& model, KvPolicy& kv, std::int64_t max_tokens);

  // fp32 logits [vocab] of the token `id` at `position`, valid until the next call. kv must be prepared for
  // this one token; it is told that the token was written, and commits nothing.
  const at::Tensor& logits(std::int32_t id, std::int64_t position);

  // Kernels of the graph captured last; 0 before the first.
  std::int64_t kernels() const noexcept { return graph_ ? graph_->kernels() : 0; }

 private:
  DecodeGraph(Transformer& model, KvPolicy& kv, std::int64_t max_tokens);
  struct Epochs {
    std::uint64_t kv = 0, backend = 0, weights = 0;
    bool operator==(const Epochs&) const = default;
  };
  Epochs epochs() const;

  Transformer& model_;
  KvPolicy& kv_;
  std::int64_t max_tokens_;
  at::Tensor input_;   // int64 [2] on the device: id, position
  at::Tensor logits_;  // fp32 [vocab]
  // The rotation's table that the graph reads: a longer one may take its place in the model.
  at::Tensor cos_, sin_;
  std::unique_ptr<device::Graph> graph_;
  Epochs captured_;
};

}  // namespace tetrad::model

#include "model/decode_graph.h"

#include "model/plugin_call.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>

#include <cstdlib>
#include <string_view>

namespace tetrad::model {

std::unique_ptr<DecodeGraph> DecodeGraph::make(Transformer& model, KvPolicy& kv, std::int64_t max_tokens) {
  const char* wanted = std::getenv("TETRAD_CUDA_GRAPH");
  if (wanted != nullptr && std::string_view(wanted) == "0") return nullptr;
  constexpr std::uint32_t kNeeded = kv_retains | kv_lossless | kv_graph_safe;
  if ((kv.capabilities() & kNeeded) != kNeeded || !model.can_decode(kv)) return nullptr;
  return std::unique_ptr<DecodeGraph>(new DecodeGraph(model, kv, max_tokens));
}

DecodeGraph::DecodeGraph(Transformer& model, KvPolicy& kv, std::int64_t max_tokens)
    : model_(model),
      kv_(kv),
      max_tokens_(max_tokens),
      input_(at::empty({2}, at::TensorOptions().dtype(at::kLong).device(model.setup().device))) {}

DecodeGraph::Epochs DecodeGraph::epochs() const {
  return {kv_.graph_epoch(), model_.backend().weight_epoch(), model_.weight_version()};
}

const at::Tensor& DecodeGraph::logits(std::int32_t id, std::int64_t position) {
  // From pageable memory, so that the host may go on as soon as the call returns.
  input_.copy_(at::tensor({static_cast<std::int64_t>(id), position}, at::kLong), /*non_blocking=*/true);
  if (!graph_ || captured_ != epochs()) {
    graph_.reset();  // its memory first
    model_.reserve_positions(max_tokens_);
    cos_ = model_.rope().cos();
    sin_ = model_.rope().sin();
    graph_ = device::cuda_ops()->capture(model_.setup().device, [&] {
      logits_ = model_.decode(input_.narrow(0, 0, 1), input_.narrow(0, 1, 1), kv_).squeeze(0);
    });
    captured_ = epochs();
  }
  graph_->replay();
  check(kv_.written(), "kv_cache", "written");
  return logits_;
}

}  // namespace tetrad::model

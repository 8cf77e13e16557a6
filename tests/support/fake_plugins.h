// Plugins for tests of the host: a dense linear backend and a KV policy that keeps whole tensors, both with
// switches that make them fail or lie at a chosen call, and a log of what they were asked.
#pragma once

#include <ATen/core/Tensor.h>
#include <tetrad/torch/kv_policy.h>
#include <tetrad/torch/linear.h>

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

namespace tetrad::test {

class FakeLinear final : public LinearBackend {
 public:
  Capability capability(const LinearSetup&) const noexcept override { return {Support::native, "fake", ""}; }
  Status configure(const LinearSetup&) noexcept override { return {}; }
  Status prepare(Parameter& parameter, WeightId& weight) noexcept override;
  Status forward(std::span<const WeightId> weights, const at::Tensor& x, Pass pass,
                 std::vector<at::Tensor>& y) noexcept override;
  Status gather(WeightId weight, const at::Tensor& ids, at::Tensor& out) noexcept override;
  Status grad_input(WeightId weight, const at::Tensor& dy, at::Tensor& dx) noexcept override;
  Status grad_weight(WeightId weight, const at::Tensor& dy, const at::Tensor& x,
                     at::Tensor& dw) noexcept override;
  Status dequantized(WeightId weight, at::Tensor& w) noexcept override;
  std::int64_t clear_eval_cache() noexcept override { return 0; }
  LinearMemory memory() const noexcept override { return {}; }
  std::uint64_t weight_epoch() const noexcept override { return 0; }

  std::vector<Parameter*> prepared;
  std::string fail_on;  // forward of this parameter fails
  std::string refuse;   // prepare of this parameter fails
  std::function<void()> on_grad_weight;
  std::string poison;                              // the gradient of this parameter is not finite
  std::vector<std::vector<std::string>> forwards;  // names, one entry per call
  std::vector<std::int32_t> script;                // when not empty: the ids that greedy sampling will choose
  std::size_t next = 0;
};

class FakeKv final : public KvPolicy {
 public:
  explicit FakeKv(std::uint32_t bits = kv_retains | kv_lossless | kv_truncate) : bits_(bits) {}

  std::uint32_t capabilities() const noexcept override { return bits_; }
  Status configure(const KvShape& shape) noexcept override;
  Status prepare(std::int64_t n, KvReserve& answer) noexcept override;
  Status write(std::int64_t layer, const at::Tensor& k, const at::Tensor& v) noexcept override;
  Status view(std::int64_t layer, at::Tensor& k, at::Tensor& v) noexcept override;
  Status attend(std::int64_t layer, const at::Tensor& q, double scale, at::Tensor& out) noexcept override;
  Status commit(std::int64_t n) noexcept override;
  Status abort() noexcept override;
  KvLengths lengths() const noexcept override;
  Status truncate(std::int64_t length) noexcept override;
  Status fork(KvPolicy*&) noexcept override { return no(); }
  Status evict(std::int64_t, std::int64_t) noexcept override { return no(); }
  Status reset() noexcept override;
  Status export_layer(std::int64_t, at::Tensor&) noexcept override { return no(); }
  Status begin_import(std::int64_t) noexcept override { return no(); }
  Status import_layer(std::int64_t, const at::Tensor&) noexcept override { return no(); }
  KvMemory memory() const noexcept override { return {}; }
  std::int64_t bytes_for(std::int64_t tokens) const noexcept override { return 10 * tokens; }
  std::int64_t shrink_to(std::int64_t) noexcept override { return 0; }
  std::uint64_t graph_epoch() const noexcept override { return 0; }

  static constexpr std::int64_t never = std::numeric_limits<std::int64_t>::max();
  std::int64_t fail_write_at = never;  // a write that reaches this position fails
  std::int64_t full_at = never;        // prepare beyond this length answers `answer_when_full`
  KvReserve answer_when_full = KvReserve::full;
  std::int64_t lie_next = 0, lie_resident = 0;  // added to what lengths() tells
  bool forget_commit = false;
  bool broken_truncate = false;
  std::vector<std::int64_t> prepares;  // sizes asked for, refused ones too
  std::int64_t resets = 0, truncates = 0, commits = 0;

 private:
  static Status no() { return Status::unsupported("not here"); }

  std::uint32_t bits_;
  KvShape shape_;
  std::vector<at::Tensor> k_, v_;          // committed, [length, kv_heads, head_dim]
  std::vector<at::Tensor> new_k_, new_v_;  // of the step in progress
  std::int64_t length_ = 0, prepared_ = 0;
};

}  // namespace tetrad::test

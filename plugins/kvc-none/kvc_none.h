// kvc-none: the policy that keeps nothing. It holds references to the keys and values that the step in
// progress wrote and hands them back from view(); commit and abort let go of them. It lacks kv_retains, so
// the host feeds the whole ledger at every step; its lengths are therefore always zero. Slow by design: what
// it computes is what a cache must reproduce. A caller must not change a written tensor before the step ends.
#pragma once

#include <ATen/core/Tensor.h>
#include <tetrad/torch/kv_policy.h>

#include <cstdint>
#include <vector>

namespace tetrad::kvc_none {

class KvcNone final : public KvPolicy {
 public:
  std::uint32_t capabilities() const noexcept override { return 0; }
  Status configure(const KvShape& shape) noexcept override;

  Status prepare(std::int64_t n, KvReserve& answer) noexcept override;
  Status write(std::int64_t layer, const at::Tensor& k, const at::Tensor& v) noexcept override;
  Status view(std::int64_t layer, at::Tensor& k, at::Tensor& v) noexcept override;
  Status attend(std::int64_t layer, const at::Tensor& q, double scale, at::Tensor& out) noexcept override;
  Status commit(std::int64_t n) noexcept override;
  Status abort() noexcept override;

  KvLengths lengths() const noexcept override { return {}; }
  // Only to 0, where it is already.
  Status truncate(std::int64_t length) noexcept override;
  Status fork(KvPolicy*& copy) noexcept override;
  Status evict(std::int64_t begin, std::int64_t end) noexcept override;
  Status reset() noexcept override { return abort(); }

  Status export_layer(std::int64_t layer, at::Tensor& bytes) noexcept override;
  Status begin_import(std::int64_t tokens) noexcept override;
  Status import_layer(std::int64_t layer, const at::Tensor& bytes) noexcept override;

  // The step in progress alone: reserved equals used.
  KvMemory memory() const noexcept override;
  std::int64_t bytes_for(std::int64_t tokens) const noexcept override;
  std::int64_t shrink_to(std::int64_t bytes) noexcept override;
  std::uint64_t graph_epoch() const noexcept override { return epoch_; }

 private:
  struct Layer {
    at::Tensor k, v;  // [n, kv_heads, head_dim] of the step in progress
  };

  std::size_t check_layer(std::int64_t layer) const;
  std::int64_t held_bytes() const noexcept;
  std::int64_t layer_token_bytes() const noexcept;

  KvShape shape_;
  std::vector<Layer> layers_;
  std::int64_t prepared_ = 0;
  bool step_ = false;
  std::int64_t peak_bytes_ = 0;
  std::uint64_t epoch_ = 0;  // every step has addresses of its own
};

}  // namespace tetrad::kvc_none

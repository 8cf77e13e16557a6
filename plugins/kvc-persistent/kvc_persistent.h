// kvc-persistent: keeps every committed key and value of one sequence, bit for bit as written, in one
// contiguous tensor per layer, [2, kv_heads, capacity, head_dim] (keys, then values), so that view() is two
// strided slices and a new turn is a delta prefill. Capacity grows geometrically in steps of 256 tokens up to
// max_tokens; the past is copied only then, one layer at a time, so that growing needs one layer more than
// the result, not all of them twice. A growth that fails leaves the tokens, their lengths and their values as
// they were.
#pragma once

#include <ATen/core/Tensor.h>
#include <tetrad/base/options.h>
#include <tetrad/torch/kv_policy.h>

#include <cstdint>
#include <vector>

namespace tetrad::kvc_persistent {

class KvcPersistent final : public KvPolicy {
 public:
  // Options: reserve_tokens (int, capacity taken at the first prepare), growth (float, factor of a growth).
  explicit KvcPersistent(const Options& options);

  std::uint32_t capabilities() const noexcept override;
  Status configure(const KvShape& shape) noexcept override;

  Status prepare(std::int64_t n, KvReserve& answer) noexcept override;
  Status write(std::int64_t layer, const at::Tensor& k, const at::Tensor& v) noexcept override;
  Status view(std::int64_t layer, at::Tensor& k, at::Tensor& v) noexcept override;
  Status attend(std::int64_t layer, const at::Tensor& q, double scale, at::Tensor& out) noexcept override;
  Status commit(std::int64_t n) noexcept override;
  Status abort() noexcept override;

  KvLengths lengths() const noexcept override { return {committed_, committed_}; }
  Status truncate(std::int64_t length) noexcept override;
  Status fork(KvPolicy*& copy) noexcept override;
  Status evict(std::int64_t begin, std::int64_t end) noexcept override;
  Status reset() noexcept override;

  Status export_layer(std::int64_t layer, at::Tensor& bytes) noexcept override;
  Status begin_import(std::int64_t tokens) noexcept override;
  Status import_layer(std::int64_t layer, const at::Tensor& bytes) noexcept override;

  KvMemory memory() const noexcept override;
  std::int64_t bytes_for(std::int64_t tokens) const noexcept override;
  std::int64_t shrink_to(std::int64_t bytes) noexcept override;
  std::uint64_t graph_epoch() const noexcept override { return epoch_; }

  Status slots(std::int64_t layer, at::Tensor& k, at::Tensor& v) noexcept override;
  Status written() noexcept override;

 private:
  struct Layer {
    at::Tensor kv;              // [2, kv_heads, capacity, head_dim], undefined while capacity is 0
    std::int64_t capacity = 0;  // tokens
    bool written = false;       // in the step in progress
  };

  void require_configured() const;
  Layer& layer_at(std::int64_t layer);
  void require_no_step(const char* what) const;
  // Copies contiguous [prepared, kv_heads, head_dim] in host memory to the prepared slots; part: 0 keys, 1
  // values.
  void write_rows(const Layer& to, const at::Tensor& from, std::int64_t part) const;
  // Every layer gets `capacity` slots and keeps its first `keep` tokens.
  void reallocate(std::int64_t capacity, std::int64_t keep);
  // Smallest capacity over the layers: what prepare() can use without growing.
  std::int64_t capacity() const noexcept;
  // The capacity that growing for `tokens` would take.
  std::int64_t grown(std::int64_t tokens) const noexcept;
  std::int64_t layer_token_bytes() const noexcept;
  std::int64_t reserved_bytes() const noexcept;
  void drop_step() noexcept;

  std::int64_t reserve_tokens_;
  double growth_;
  KvShape shape_;
  bool configured_ = false;
  std::vector<Layer> layers_;
  std::int64_t committed_ = 0;  // tokens
  std::int64_t prepared_ = 0;   // tokens of the step in progress, behind the committed ones
  bool step_ = false;           // between prepare and commit or abort
  bool importing_ = false;
  std::int64_t peak_bytes_ = 0;
  std::uint64_t epoch_ = 0;
};

}  // namespace tetrad::kvc_persistent

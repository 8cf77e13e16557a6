// KvPolicy: plugin kind "kv_cache". It owns the bytes and slots of keys and values of one sequence, never
// tokens: the host's ledger is the truth about the context. A step is prepare(n) -> write(layer) for every
// layer -> commit(n): write goes to the prepared slots and is idempotent (a repeated forward of the same step
// overwrites them with the same values), and commit alone moves lengths. Keys are stored after RoPE.
//
// After every commit the host asserts next_position == ledger length and, for a LOSSLESS policy, resident ==
// ledger length. Threads: one host thread at a time.
#pragma once

#include <ATen/core/Tensor.h>
#include <tetrad/base/status.h>

#include <cstdint>
#include <span>

namespace tetrad {

struct KvShape {
  std::int64_t layers = 0;
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;
  at::ScalarType dtype = at::kBFloat16;
  at::Device device = at::kCPU;
  std::int64_t max_tokens = 0;  // context limit of the run; the policy never holds more
};

// Capability bits.
enum KvBits : std::uint32_t {
  kv_retains = 1U << 0,   // keeps committed tokens; without it the host feeds the whole ledger at every step
  kv_lossless = 1U << 1,  // what is viewed is bit for bit what was written
  kv_truncate = 1U << 2,
  kv_fork = 1U << 3,
  kv_evict = 1U << 4,
  kv_export = 1U << 5,
  kv_shrink = 1U << 6,
  kv_native_attend = 1U << 7,  // attend() exists
  kv_graph_safe = 1U << 8,     // addresses change only when graph_epoch() changes
};

enum class KvReserve : std::uint8_t {
  ok,
  would_evict,  // possible only by dropping tokens; the host must call evict() at a turn's edge first
  full,         // max_tokens would be passed
};

struct KvLengths {
  std::int64_t next_position = 0;  // tokens committed since reset, evicted ones included
  std::int64_t resident = 0;       // tokens whose keys and values are held now
};

struct KvMemory {
  std::int64_t reserved_bytes = 0;
  std::int64_t used_bytes = 0;
  std::int64_t peak_bytes = 0;
};

class KvPolicy {
 public:
  virtual ~KvPolicy() = default;

  virtual std::uint32_t capabilities() const noexcept = 0;
  virtual Status configure(const KvShape& shape) noexcept = 0;

  // Reserves slots for n more tokens. Without side effects unless the answer is ok.
  virtual Status prepare(std::int64_t n, KvReserve& answer) noexcept = 0;
  // k, v [n, kv_heads, head_dim] of the prepared tokens.
  virtual Status write(std::int64_t layer, const at::Tensor& k, const at::Tensor& v) noexcept = 0;
  // Resident and prepared tokens in position order, strided: k, v [kv_heads, S, head_dim]. Valid until the
  // next prepare.
  virtual Status view(std::int64_t layer, at::Tensor& k, at::Tensor& v) noexcept = 0;
  // Causal attention of q [n, heads, head_dim] over view(layer) into out [n, heads, head_dim]; only with
  // kv_native_attend.
  virtual Status attend(std::int64_t layer, const at::Tensor& q, double scale, at::Tensor& out) noexcept = 0;
  // Accepts the first n of the prepared tokens; the others are forgotten.
  virtual Status commit(std::int64_t n) noexcept = 0;
  virtual Status abort() noexcept = 0;

  virtual KvLengths lengths() const noexcept = 0;
  // Forgets every token from position `length` on.
  virtual Status truncate(std::int64_t length) noexcept = 0;
  // A second, independent policy object with the same content; the caller owns it through the plugin's
  // destroy.
  virtual Status fork(KvPolicy*& copy) noexcept = 0;
  // Drops tokens [begin, end); survivors keep their positions.
  virtual Status evict(std::int64_t begin, std::int64_t end) noexcept = 0;
  // Lengths to zero; addresses stay.
  virtual Status reset() noexcept = 0;

  // Raw bytes of one layer (keys then values of the resident tokens, [2, kv_heads, resident, head_dim] of the
  // dtype).
  virtual Status export_layer(std::int64_t layer, at::Tensor& bytes) noexcept = 0;
  // begin_import(tokens) -> import_layer for each layer -> commit(tokens); abort() on failure leaves an empty
  // cache.
  virtual Status begin_import(std::int64_t tokens) noexcept = 0;
  virtual Status import_layer(std::int64_t layer, const at::Tensor& bytes) noexcept = 0;

  virtual KvMemory memory() const noexcept = 0;
  // Bytes that holding `tokens` tokens takes, reserved slack included.
  virtual std::int64_t bytes_for(std::int64_t tokens) const noexcept = 0;
  // Gives back reserved memory down to `bytes` without losing tokens; returns the bytes still reserved.
  virtual std::int64_t shrink_to(std::int64_t bytes) noexcept = 0;
  virtual std::uint64_t graph_epoch() const noexcept = 0;

  // For captured graphs, of a policy that is lossless, never evicts and has kv_graph_safe; the others leave
  // these two as they are. All slots of a layer, slot = position: k, v [kv_heads, capacity, head_dim],
  // strided, capacity at least the tokens committed and prepared. Addresses hold while graph_epoch() does.
  virtual Status slots(std::int64_t /*layer*/, at::Tensor& /*k*/, at::Tensor& /*v*/) noexcept {
    return Status::unsupported("this policy does not lend its slots");
  }
  // The host wrote the prepared tokens of every layer through slots() instead of write().
  virtual Status written() noexcept { return Status::unsupported("this policy does not lend its slots"); }
};

}  // namespace tetrad

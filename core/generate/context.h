// One conversation's context: the ledger of token ids, which is the truth, and the KV cache that must agree
// with it. feed() is the only way tokens enter; after every commit next_position == ledger length is
// asserted, and for a lossless policy resident == ledger length. A change of the weights
// (Transformer::weight_version) makes the cache stale, and so may a failed step: it is rebuilt from the
// ledger before the next token.
#pragma once

#include "device/cuda_ops.h"
#include "model/decode_graph.h"
#include "model/transformer.h"

#include <ATen/core/Tensor.h>
#include <tetrad/torch/kv_policy.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace tetrad::generate {

// What feeding several tokens is about to need.
struct Prefill {
  std::int64_t tokens = 0;      // new ones
  std::int64_t pass = 0;        // tokens of its largest pass
  std::int64_t logit_rows = 0;  // rows of logits of a pass
  std::int64_t kv_bytes = 0;    // that the KV policy has not reserved yet
};

struct ContextOptions {
  std::int64_t max_tokens = 0;     // context limit of the run
  std::int64_t prefill_chunk = 0;  // tokens per forward pass at most
  bool check_logits = true;        // stop on the first non-finite logit
  // Asked before several tokens are fed; throws where they must not be. The context is then as before.
  std::function<void(const Prefill&)> admit = {};
};

// Sees what a context runs: each pass, then (ForwardObserver) its intermediate tensors. For parity.
class PassObserver : public model::ForwardObserver {
 public:
  // A pass over positions [begin, end) comes: row i of its tensors is position begin + i. Positions before
  // `first_new` were fed earlier and are computed again.
  virtual void pass(std::int64_t begin, std::int64_t end, std::int64_t first_new) = 0;
};

class Context {
 public:
  // kv must be configured with this model's shape and options.max_tokens. Both outlive the context.
  Context(model::Transformer& model, KvPolicy& kv, ContextOptions options);

  // Appends ids to the ledger and runs them through the model; fp32 logits [vocab] of the last one, valid
  // until the next call.
  // Throws Error(usage) when the limit would be passed, Error(numerics) naming the first layer and tensor
  // when a logit is not finite, and what a plugin reports; the context is then as before the call.
  at::Tensor feed(std::span<const std::int32_t> ids);

  // As feed(), but hands over the logits of every position: visit(first position of the chunk, fp32 [t,
  // vocab]).
  void feed_all(std::span<const std::int32_t> ids,
                const std::function<void(std::int64_t, const at::Tensor&)>& visit);

  // As feed() without the head: for tokens whose successor is not wanted (the end of a turn).
  void append(std::span<const std::int32_t> ids);

  // The largest of the logits that feed() returned last, where a CUDA device found it: sparing the way of all
  // of them to the host.
  const std::optional<device::Best>& best() const noexcept { return best_; }

  // The next feed runs the whole ledger once more, its new tokens with it, as if nothing were cached.
  void recompute() noexcept { recompute_ = true; }
  // Passes of at most `tokens` from now on, and of the options' prefill_chunk in any case.
  void limit_passes(std::int64_t tokens);
  // Shows every pass from now on to `observer`, which must outlive that; null ends it. An observed pass never
  // runs as a captured graph.
  void observe(PassObserver* observer) noexcept { observer_ = observer; }

  // Forgets everything from position `length` on. The cache of a policy that cannot cut (truncates() is
  // false) is made again from the ledger before the next token, at the price of a prefill of `length` tokens.
  void truncate(std::int64_t length);
  bool truncates() const noexcept { return !retains() || (kv_.capabilities() & kv_truncate) != 0; }
  void reset() { truncate(0); }

  const std::vector<std::int32_t>& ledger() const noexcept { return ledger_; }
  std::int64_t length() const noexcept { return static_cast<std::int64_t>(ledger_.size()); }
  KvLengths kv_lengths() const noexcept { return kv_.lengths(); }
  KvMemory kv_memory() const noexcept { return kv_.memory(); }
  // Whether the policy keeps tokens; without it every feed recomputes the whole ledger.
  bool retains() const noexcept { return (kv_.capabilities() & kv_retains) != 0; }
  std::int64_t max_tokens() const noexcept { return options_.max_tokens; }

 private:
  enum class Head { none, last, all };
  using Visit = std::function<void(std::int64_t, const at::Tensor&)>;

  at::Tensor run(std::span<const std::int32_t> ids, Head head, const Visit* visit);
  // Runs the ledger from `first` on; `visit` sees positions from `begin` on.
  at::Tensor run_new(std::int64_t first, std::int64_t begin, Head head, const Visit* visit);
  void roll_back(std::int64_t length) noexcept;
  // Asks the policy for `count` more slots.
  void prepare(std::int64_t count);
  // The graph that runs a single token, or null where there is none; slots must be prepared.
  model::DecodeGraph* decode_graph();
  // fp32 logits of the last token of [begin, end), checked; nothing is committed.
  at::Tensor last_logits(std::int64_t begin, std::int64_t end);
  // Prepares [begin, end) of the ledger and runs it through the model; nothing is committed.
  at::Tensor step(std::int64_t begin, std::int64_t end, model::ForwardObserver* observer);
  at::Tensor run_chunk(std::int64_t begin, std::int64_t end, Head head, const Visit* visit,
                       std::int64_t visible_from);
  void refresh_if_stale();
  // The cache continues at `expected`, as the ledger does at this point of a prefill.
  void assert_lengths(std::int64_t expected) const;
  void require_finite(const at::Tensor& logits);
  [[noreturn]] void name_first_non_finite();

  model::Transformer& model_;
  KvPolicy& kv_;
  ContextOptions options_;
  std::int64_t chunk_;  // tokens of a pass at most
  PassObserver* observer_ = nullptr;
  bool recompute_ = false;
  std::unique_ptr<model::DecodeGraph> graph_;
  bool graph_asked_for_ = false;
  std::optional<device::Best> best_;
  std::vector<std::int32_t> ledger_;
  std::uint64_t kv_weight_version_;  // the weights that the cached keys and values were computed with
  bool cache_valid_ = true;          // false: a failure left the cache behind; it is rebuilt from the ledger
};

}  // namespace tetrad::generate

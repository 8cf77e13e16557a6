#include "generate/context.h"

#include "model/plugin_call.h"
#include "ops/finite.h"

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/tensor.h>
#include <tetrad/base/error.h>

#include <algorithm>
#include <utility>

namespace tetrad::generate {
namespace {

constexpr const char* kv_name = "kv_cache";

// Remembers the first tensor with a NaN or infinity in it.
class FirstNonFinite : public model::ForwardObserver {
 public:
  void seen(std::int64_t layer, std::string_view tensor, const at::Tensor& value) override {
    if (!where.empty() || ops::all_finite(value)) return;
    where = layer < 0 ? "before layer 0" : "layer " + std::to_string(layer);
    where += ", tensor '" + std::string(tensor) + "'";
  }
  std::string where;
};

}  // namespace

Context::Context(model::Transformer& model, KvPolicy& kv, ContextOptions options)
    : model_(model),
      kv_(kv),
      options_(options),
      chunk_(options.prefill_chunk),
      kv_weight_version_(model.weight_version()) {
  if (options_.max_tokens < 1 || options_.prefill_chunk < 1) {
    throw Error("[context] a limit of " + std::to_string(options_.max_tokens) + " tokens in chunks of " +
                std::to_string(options_.prefill_chunk) + " makes no sense; both must be at least 1");
  }
}

at::Tensor Context::feed(std::span<const std::int32_t> ids) {
  return run(ids, Head::last, nullptr);
}

void Context::feed_all(std::span<const std::int32_t> ids, const Visit& visit) {
  run(ids, Head::all, &visit);
}

void Context::append(std::span<const std::int32_t> ids) {
  if (!ids.empty()) run(ids, Head::none, nullptr);
}

void Context::limit_passes(std::int64_t tokens) {
  if (tokens < 1) throw Error("[context] passes of " + std::to_string(tokens) + " tokens make no sense");
  chunk_ = std::min(tokens, options_.prefill_chunk);
}

at::Tensor Context::run(std::span<const std::int32_t> ids, Head head, const Visit* visit) {
  if (ids.empty()) throw Error("[context] no tokens to feed");
  const std::int64_t begin = length();
  const auto count = static_cast<std::int64_t>(ids.size());
  if (begin + count > options_.max_tokens) {
    throw Error(ExitCode::usage,
                "[context] " + std::to_string(begin) + " tokens in the context + " + std::to_string(count) +
                    " new ones > limit of " + std::to_string(options_.max_tokens) +
                    "; shorten the prompt, start a new conversation or raise model.max_context");
  }
  const at::NoGradGuard no_grad;
  // No graph is built here: the dispatcher need not pass through autograd at every call.
  const at::AutoDispatchBelowADInplaceOrView below_autograd;
  if (options_.admit && count > 1) {
    const std::int64_t pass = retains() ? std::min(chunk_, count) : begin + count;
    options_.admit({count, pass, head == Head::all ? pass : std::int64_t{1},
                    std::max<std::int64_t>(0, kv_.bytes_for(begin + count) - kv_.memory().reserved_bytes)});
  }
  refresh_if_stale();
  const bool from_nothing = std::exchange(recompute_, false) && retains() && begin > 0;
  ledger_.insert(ledger_.end(), ids.begin(), ids.end());
  try {
    if (from_nothing) model::check(kv_.reset(), kv_name, "reset");
    return run_new(from_nothing ? 0 : begin, begin, head, visit);
  } catch (...) {
    roll_back(begin);
    throw;
  }
}

at::Tensor Context::run_new(std::int64_t first, std::int64_t begin, Head head, const Visit* visit) {
  // A policy without memory sees the whole ledger as one step.
  if (!retains()) return run_chunk(0, length(), head, visit, begin);
  at::Tensor logits;
  for (std::int64_t at = first; at < length(); at += chunk_) {
    const std::int64_t end = std::min(length(), at + chunk_);
    const bool unseen = end <= begin || (head == Head::last && end != length());
    const Head wanted = unseen ? Head::none : head;
    logits = run_chunk(at, end, wanted, visit, begin);
  }
  return logits;
}

void Context::roll_back(std::int64_t length) noexcept {
  // On a way out that already has its error: whatever the policy answers now, the ledger is right, and a
  // cache that does not agree with it is rebuilt before the next token.
  ledger_.resize(static_cast<std::size_t>(length));
  (void)kv_.abort();
  if (!retains()) return;
  if (kv_.lengths().next_position > length && truncates()) (void)kv_.truncate(length);
  cache_valid_ = cache_valid_ && kv_.lengths().next_position == length;
}

void Context::prepare(std::int64_t count) {
  KvReserve answer = KvReserve::ok;
  model::check(kv_.prepare(count, answer), kv_name, "prepare of " + std::to_string(count) + " tokens");
  if (answer != KvReserve::ok) {
    throw Error("[kv_cache] the policy cannot hold " + std::to_string(kv_.lengths().next_position + count) +
                " tokens" + (answer == KvReserve::would_evict ? " without evicting" : "") +
                "; shorten the conversation");
  }
}

model::DecodeGraph* Context::decode_graph() {
  if (!graph_asked_for_) {
    graph_asked_for_ = true;
    graph_ = model::DecodeGraph::make(model_, kv_, options_.max_tokens);
  }
  return graph_.get();
}

at::Tensor Context::last_logits(std::int64_t begin, std::int64_t end) {
  at::Tensor logits;
  if (observer_ == nullptr && end - begin == 1 && begin > 0 && retains() && model_.setup().device.is_cuda()) {
    prepare(1);
    if (model::DecodeGraph* graph = decode_graph())
      logits = graph->logits(ledger_[static_cast<std::size_t>(begin)], begin);
    else
      model::check(kv_.abort(), kv_name, "abort");
  }
  if (!logits.defined()) {
    const at::Tensor hidden = step(begin, end, observer_);
    logits = model_.logits(hidden.narrow(0, hidden.size(0) - 1, 1), Pass::eval).squeeze(0);
  }
  if (logits.is_cuda() && device::cuda_ops() != nullptr) {
    best_ = device::cuda_ops()->best(logits);
    if (options_.check_logits && !best_->finite) name_first_non_finite();
    if (!best_->finite) best_.reset();
  } else {
    require_finite(logits);
  }
  return logits;
}

at::Tensor Context::step(std::int64_t begin, std::int64_t end, model::ForwardObserver* observer) {
  prepare(end - begin);
  const std::vector<std::int64_t> wide(ledger_.begin() + begin, ledger_.begin() + end);
  const at::Tensor ids = at::tensor(wide, at::kLong).to(model_.setup().device);
  return model_.forward(ids, begin, kv_, Pass::eval, observer);
}

at::Tensor Context::run_chunk(std::int64_t begin, std::int64_t end, Head head, const Visit* visit,
                              std::int64_t visible_from) {
  best_.reset();
  if (observer_ != nullptr) observer_->pass(begin, end, std::clamp(visible_from, begin, end));
  at::Tensor logits, hidden;
  if (head == Head::last)
    logits = last_logits(begin, end);
  else
    hidden = step(begin, end, observer_);
  if (head == Head::all) {
    const std::int64_t first = std::max(begin, visible_from);
    const at::Tensor all = model_.logits(hidden.narrow(0, first - begin, end - first), Pass::eval);
    require_finite(all);
    (*visit)(first, all);
  }
  model::check(kv_.commit(end - begin), kv_name, "commit");
  assert_lengths(end);
  return logits;
}

void Context::require_finite(const at::Tensor& logits) {
  if (options_.check_logits && !ops::all_finite(logits)) name_first_non_finite();
}

void Context::name_first_non_finite() {
  // The whole ledger once more with eyes open: an earlier chunk may be where it began.
  model::check(kv_.abort(), kv_name, "abort");
  model::check(kv_.reset(), kv_name, "reset");
  FirstNonFinite finder;
  for (std::int64_t at = 0; at < length() && finder.where.empty();) {
    const std::int64_t end = retains() ? std::min(length(), at + chunk_) : length();
    const at::Tensor hidden = step(at, end, &finder);
    if (finder.where.empty()) {
      finder.seen(model_.config().num_hidden_layers, "lm_head", model_.logits(hidden, Pass::eval));
    }
    model::check(kv_.commit(end - at), kv_name, "commit");
    at = end;
  }
  throw Error(
      ExitCode::numerics,
      "[numerics] non-finite logits; the first non-finite value is in " +
          (finder.where.empty() ? std::string("no tensor of a repeated pass (a race or faulty memory?)")
                                : finder.where) +
          "; the weights or their scales are damaged, or the dtype overflows (try model.dtype: float32)");
}

void Context::refresh_if_stale() {
  const std::uint64_t version = model_.weight_version();
  if (cache_valid_ && kv_weight_version_ == version) return;
  cache_valid_ = false;  // until all of it is rebuilt
  if (retains() && !ledger_.empty()) {
    model::check(kv_.reset(), kv_name, "reset");
    try {
      for (std::int64_t at = 0; at < length(); at += chunk_) {
        run_chunk(at, std::min(length(), at + chunk_), Head::none, nullptr, length());
      }
    } catch (...) {
      (void)kv_.abort();
      throw;
    }
  }
  kv_weight_version_ = version;
  cache_valid_ = true;
}

void Context::truncate(std::int64_t length) {
  if (length < 0 || length > this->length()) {
    throw Error("[context] cannot truncate to " + std::to_string(length) + " tokens: the context holds " +
                std::to_string(this->length()));
  }
  const bool cut = length < this->length();
  if (!cut && length > 0) return;
  if (cut && length > 0 && !truncates()) cache_valid_ = false;
  const bool stale = !cache_valid_ && length > 0;
  if (retains() && !stale)
    model::check(length == 0 ? kv_.reset() : kv_.truncate(length), kv_name, "truncate");
  ledger_.resize(static_cast<std::size_t>(length));
  if (stale) return;
  assert_lengths(length);
  if (length == 0) {
    cache_valid_ = true;
    kv_weight_version_ = model_.weight_version();
  }
}

void Context::assert_lengths(std::int64_t expected) const {
  if (!retains()) return;
  const KvLengths lengths = kv_.lengths();
  const bool lossless = (kv_.capabilities() & kv_lossless) != 0;
  const bool resident =
      lossless ? lengths.resident == expected : lengths.resident >= 0 && lengths.resident <= expected;
  if (lengths.next_position == expected && resident) return;
  throw Error("[kv_cache] the cache holds " + std::to_string(lengths.resident) +
              " tokens and continues at position " + std::to_string(lengths.next_position) +
              ", the ledger continues at " + std::to_string(expected) + "; the policy broke its contract");
}

}  // namespace tetrad::generate

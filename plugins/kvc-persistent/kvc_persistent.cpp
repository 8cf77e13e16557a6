#include "kvc_persistent.h"

#include <ATen/ops/empty.h>
#include <c10/core/ScalarType.h>
#include <tetrad/torch/guarded.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <limits>
#include <string>

namespace tetrad::kvc_persistent {
namespace {

constexpr std::int64_t kGranule = 256;  // tokens

[[noreturn]] void fail(StatusCode code, const std::string& text) {
  throw StatusError(code, text);
}

std::string sizes_text(const at::Tensor& t) {
  if (!t.defined()) return "an undefined tensor";
  std::string text = std::string(c10::toString(t.scalar_type())) + " [";
  for (std::int64_t i = 0; i < t.dim(); ++i) text += (i ? ", " : "") + std::to_string(t.size(i));
  return text + "]";
}

void check_tensor(const char* what, const at::Tensor& t, at::ScalarType dtype, at::IntArrayRef sizes) {
  if (t.defined() && t.scalar_type() == dtype && t.sizes() == sizes) return;
  std::string expected = std::string(c10::toString(dtype)) + " [";
  for (std::size_t i = 0; i < sizes.size(); ++i) expected += (i ? ", " : "") + std::to_string(sizes[i]);
  fail(StatusCode::internal, std::string(what) + ": expected " + expected + "], got " + sizes_text(t));
}

}  // namespace

KvcPersistent::KvcPersistent(const Options& options)
    : reserve_tokens_(options.get<std::int64_t>("reserve_tokens")), growth_(options.get<double>("growth")) {
  if (reserve_tokens_ < 0)
    fail(StatusCode::invalid_option, "reserve_tokens: " + std::to_string(reserve_tokens_) + " is negative");
  if (!(growth_ >= 1.0 && growth_ <= 16.0))
    fail(StatusCode::invalid_option, "growth: " + std::to_string(growth_) + " is not between 1 and 16");
}

std::uint32_t KvcPersistent::capabilities() const noexcept {
  return kv_retains | kv_lossless | kv_truncate | kv_fork | kv_export | kv_shrink | kv_graph_safe;
}

Status KvcPersistent::configure(const KvShape& shape) noexcept {
  return torch_guarded([&] {
    if (configured_) fail(StatusCode::internal, "configure: called twice");
    if (shape.layers < 1 || shape.kv_heads < 1 || shape.head_dim < 1 || shape.max_tokens < 1)
      fail(StatusCode::unsupported, "configure: layers " + std::to_string(shape.layers) + ", kv_heads " +
                                        std::to_string(shape.kv_heads) + ", head_dim " +
                                        std::to_string(shape.head_dim) + ", max_tokens " +
                                        std::to_string(shape.max_tokens) + ": all must be positive");
    if (!at::isFloatingType(shape.dtype))
      fail(StatusCode::unsupported,
           std::string("configure: dtype ") + c10::toString(shape.dtype) + " cannot hold keys and values");
    layers_.resize(static_cast<std::size_t>(shape.layers));
    shape_ = shape;
    configured_ = true;
  });
}

void KvcPersistent::require_configured() const {
  if (!configured_) fail(StatusCode::internal, "called before configure");
}

KvcPersistent::Layer& KvcPersistent::layer_at(std::int64_t layer) {
  require_configured();
  if (layer < 0 || layer >= shape_.layers)
    fail(StatusCode::internal,
         "layer " + std::to_string(layer) + " is not in 0.." + std::to_string(shape_.layers - 1));
  return layers_[static_cast<std::size_t>(layer)];
}

void KvcPersistent::require_no_step(const char* what) const {
  require_configured();
  if (step_)
    fail(StatusCode::internal, std::string(what) + ": " + std::to_string(prepared_) +
                                   " prepared tokens are neither committed nor aborted");
}

std::int64_t KvcPersistent::capacity() const noexcept {
  std::int64_t least = std::numeric_limits<std::int64_t>::max();
  for (const Layer& layer : layers_) least = std::min(least, layer.capacity);
  return layers_.empty() ? 0 : least;
}

std::int64_t KvcPersistent::grown(std::int64_t tokens) const noexcept {
  const std::int64_t now = capacity();
  if (tokens <= now) return now;
  const double factor =
      now == 0 ? static_cast<double>(reserve_tokens_) : std::floor(static_cast<double>(now) * growth_);
  const auto wish = static_cast<std::int64_t>(std::min(factor, static_cast<double>(shape_.max_tokens)));
  const std::int64_t wanted = std::max(tokens, wish);
  if (wanted >= shape_.max_tokens - (kGranule - 1)) return shape_.max_tokens;
  return (wanted + kGranule - 1) / kGranule * kGranule;
}

std::int64_t KvcPersistent::layer_token_bytes() const noexcept {
  return 2 * shape_.kv_heads * shape_.head_dim * static_cast<std::int64_t>(c10::elementSize(shape_.dtype));
}

std::int64_t KvcPersistent::reserved_bytes() const noexcept {
  std::int64_t tokens = 0;
  for (const Layer& layer : layers_) tokens += layer.capacity;
  return tokens * layer_token_bytes();
}

void KvcPersistent::reallocate(std::int64_t capacity, std::int64_t keep) {
  for (Layer& layer : layers_) {
    if (layer.capacity == capacity) continue;
    at::Tensor kv;
    if (capacity > 0) {
      try {
        kv = at::empty({2, shape_.kv_heads, capacity, shape_.head_dim},
                       at::TensorOptions().dtype(shape_.dtype).device(shape_.device));
      } catch (const c10::Error& e) {
        fail(StatusCode::out_of_memory, "no memory for " + std::to_string(capacity) + " tokens (" +
                                            std::to_string(capacity * layer_token_bytes()) +
                                            " bytes for one of " + std::to_string(shape_.layers) +
                                            " layers; " + std::to_string(reserved_bytes()) +
                                            " bytes held): " + e.what_without_backtrace());
      }
      peak_bytes_ = std::max(peak_bytes_, reserved_bytes() + capacity * layer_token_bytes());
      if (keep > 0) kv.narrow(2, 0, keep).copy_(layer.kv.narrow(2, 0, keep));
    }
    layer.kv = std::move(kv);
    layer.capacity = capacity;
    ++epoch_;
  }
}

void KvcPersistent::drop_step() noexcept {
  prepared_ = 0;
  step_ = false;
  importing_ = false;
  for (Layer& layer : layers_) layer.written = false;
}

Status KvcPersistent::prepare(std::int64_t n, KvReserve& answer) noexcept {
  return torch_guarded([&] {
    require_no_step("prepare");
    if (n < 0) fail(StatusCode::internal, "prepare: " + std::to_string(n) + " tokens");
    if (n > shape_.max_tokens - committed_) {
      answer = KvReserve::full;
      return;
    }
    if (committed_ + n > capacity()) reallocate(grown(committed_ + n), committed_);
    prepared_ = n;
    step_ = true;
    answer = KvReserve::ok;
  });
}

// A decode step writes one token: two copies of a few hundred bytes for each layer, which libtorch's copy_
// costs several times their price.
void KvcPersistent::write_rows(const Layer& to, const at::Tensor& from, std::int64_t part) const {
  const auto row = static_cast<std::size_t>(shape_.head_dim) * c10::elementSize(shape_.dtype);
  const auto heads = static_cast<std::size_t>(shape_.kv_heads);
  const auto* source = static_cast<const std::byte*>(from.const_data_ptr());
  auto* target = static_cast<std::byte*>(to.kv.mutable_data_ptr());
  for (std::size_t h = 0; h < heads; ++h) {
    const std::size_t first =
        (static_cast<std::size_t>(part) * heads + h) * static_cast<std::size_t>(to.capacity) +
        static_cast<std::size_t>(committed_);
    for (std::size_t t = 0; t < static_cast<std::size_t>(prepared_); ++t)
      std::memcpy(target + (first + t) * row, source + (t * heads + h) * row, row);
  }
}

Status KvcPersistent::write(std::int64_t layer, const at::Tensor& k, const at::Tensor& v) noexcept {
  return torch_guarded([&] {
    Layer& to = layer_at(layer);
    if (!step_) fail(StatusCode::internal, "write: no step is prepared");
    const std::int64_t sizes[] = {prepared_, shape_.kv_heads, shape_.head_dim};
    check_tensor("write: keys", k, shape_.dtype, sizes);
    check_tensor("write: values", v, shape_.dtype, sizes);
    if (prepared_ > 0 && shape_.device.is_cpu() && k.is_contiguous() && v.is_contiguous()) {
      write_rows(to, k, 0);
      write_rows(to, v, 1);
    } else if (prepared_ > 0) {
      const at::Tensor slots = to.kv.narrow(2, committed_, prepared_);
      slots.select(0, 0).copy_(k.transpose(0, 1));
      slots.select(0, 1).copy_(v.transpose(0, 1));
    }
    to.written = true;
  });
}

Status KvcPersistent::view(std::int64_t layer, at::Tensor& k, at::Tensor& v) noexcept {
  return torch_guarded([&] {
    const Layer& from = layer_at(layer);
    if (prepared_ > 0 && !from.written)
      fail(StatusCode::internal, "view: layer " + std::to_string(layer) + " has " +
                                     std::to_string(prepared_) + " prepared tokens that were not written");
    if (!from.kv.defined()) {
      k = at::empty({shape_.kv_heads, 0, shape_.head_dim},
                    at::TensorOptions().dtype(shape_.dtype).device(shape_.device));
      v = k;
      return;
    }
    const at::Tensor held = from.kv.narrow(2, 0, committed_ + prepared_);
    k = held.select(0, 0);
    v = held.select(0, 1);
  });
}

Status KvcPersistent::slots(std::int64_t layer, at::Tensor& k, at::Tensor& v) noexcept {
  return torch_guarded([&] {
    const Layer& from = layer_at(layer);
    if (!from.kv.defined()) fail(StatusCode::internal, "slots: none are held yet; prepare() first");
    k = from.kv.select(0, 0);
    v = from.kv.select(0, 1);
  });
}

Status KvcPersistent::written() noexcept {
  return torch_guarded([&] {
    require_configured();
    if (!step_ || importing_) fail(StatusCode::internal, "written: no step is prepared");
    for (Layer& layer : layers_) layer.written = true;
  });
}

Status KvcPersistent::attend(std::int64_t, const at::Tensor&, double, at::Tensor&) noexcept {
  return guarded([] { fail(StatusCode::unsupported, "attend: not offered; use view"); });
}

Status KvcPersistent::commit(std::int64_t n) noexcept {
  return torch_guarded([&] {
    require_configured();
    if (!step_) fail(StatusCode::internal, "commit: no step is prepared");
    if (n < 0 || n > prepared_)
      fail(StatusCode::internal,
           "commit: " + std::to_string(n) + " of " + std::to_string(prepared_) + " prepared tokens");
    if (importing_ && n != prepared_)
      fail(StatusCode::internal,
           "commit: an import of " + std::to_string(prepared_) + " tokens is all or nothing");
    if (n > 0) {
      for (std::size_t i = 0; i < layers_.size(); ++i)
        if (!layers_[i].written)
          fail(StatusCode::internal, "commit: layer " + std::to_string(i) + " was not written in this step");
    }
    committed_ += n;
    drop_step();
  });
}

Status KvcPersistent::abort() noexcept {
  drop_step();
  return {};
}

Status KvcPersistent::truncate(std::int64_t length) noexcept {
  return torch_guarded([&] {
    require_no_step("truncate");
    if (length < 0 || length > committed_)
      fail(StatusCode::internal,
           "truncate: to " + std::to_string(length) + " of " + std::to_string(committed_) + " tokens");
    committed_ = length;
  });
}

Status KvcPersistent::fork(KvPolicy*& copy) noexcept {
  return torch_guarded([&] {
    require_no_step("fork");
    KvcPersistent* other = new KvcPersistent(*this);
    try {
      // What was copied are references; storage of its own parts the two.
      for (Layer& layer : other->layers_) layer = Layer{};
      other->peak_bytes_ = 0;
      other->reallocate(std::min(shape_.max_tokens, (committed_ + kGranule - 1) / kGranule * kGranule), 0);
      for (std::size_t i = 0; i < layers_.size() && committed_ > 0; ++i)
        other->layers_[i].kv.narrow(2, 0, committed_).copy_(layers_[i].kv.narrow(2, 0, committed_));
      other->committed_ = committed_;
    } catch (...) {
      delete other;
      throw;
    }
    copy = other;
  });
}

Status KvcPersistent::evict(std::int64_t, std::int64_t) noexcept {
  return guarded([] { fail(StatusCode::unsupported, "evict: this policy keeps every token"); });
}

Status KvcPersistent::reset() noexcept {
  drop_step();
  committed_ = 0;
  return {};
}

Status KvcPersistent::export_layer(std::int64_t layer, at::Tensor& bytes) noexcept {
  return torch_guarded([&] {
    const Layer& from = layer_at(layer);
    const at::Tensor out = at::empty({2, shape_.kv_heads, committed_, shape_.head_dim},
                                     at::TensorOptions().dtype(shape_.dtype).device(shape_.device));
    if (committed_ > 0) out.copy_(from.kv.narrow(2, 0, committed_));
    bytes = out;
  });
}

Status KvcPersistent::begin_import(std::int64_t tokens) noexcept {
  return torch_guarded([&] {
    require_no_step("begin_import");
    if (tokens < 0 || tokens > shape_.max_tokens)
      fail(StatusCode::unsupported, "begin_import: " + std::to_string(tokens) +
                                        " tokens, but max_tokens is " + std::to_string(shape_.max_tokens));
    // Reserve first: when that fails, what was held is still there.
    if (tokens > capacity()) reallocate(grown(tokens), committed_);
    committed_ = 0;
    prepared_ = tokens;
    step_ = true;
    importing_ = true;
  });
}

Status KvcPersistent::import_layer(std::int64_t layer, const at::Tensor& bytes) noexcept {
  return torch_guarded([&] {
    Layer& to = layer_at(layer);
    if (!importing_) fail(StatusCode::internal, "import_layer: no import was begun");
    const std::int64_t sizes[] = {2, shape_.kv_heads, prepared_, shape_.head_dim};
    check_tensor("import_layer", bytes, shape_.dtype, sizes);
    if (prepared_ > 0) to.kv.narrow(2, 0, prepared_).copy_(bytes);
    to.written = true;
  });
}

KvMemory KvcPersistent::memory() const noexcept {
  const std::int64_t used = committed_ * layer_token_bytes() * shape_.layers;
  return {reserved_bytes(), used, peak_bytes_};
}

std::int64_t KvcPersistent::bytes_for(std::int64_t tokens) const noexcept {
  return grown(std::min(tokens, shape_.max_tokens)) * layer_token_bytes() * shape_.layers;
}

std::int64_t KvcPersistent::shrink_to(std::int64_t bytes) noexcept {
  const Status status = torch_guarded([&] {
    require_no_step("shrink_to");
    const std::int64_t token_bytes = layer_token_bytes() * shape_.layers;
    std::int64_t tokens = std::max<std::int64_t>(bytes, 0) / token_bytes / kGranule * kGranule;
    tokens = std::max(tokens, (committed_ + kGranule - 1) / kGranule * kGranule);
    tokens = std::min(tokens, shape_.max_tokens);
    if (tokens < capacity()) reallocate(tokens, committed_);
  });
  (void)status;  // giving back is best effort: the answer says what is still held
  return reserved_bytes();
}

}  // namespace tetrad::kvc_persistent

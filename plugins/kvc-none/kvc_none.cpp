#include "kvc_none.h"

#include <c10/core/ScalarType.h>
#include <tetrad/torch/guarded.h>

#include <algorithm>
#include <string>

namespace tetrad::kvc_none {
namespace {

[[noreturn]] void fail(StatusCode code, const std::string& text) {
  throw StatusError(code, text);
}

Status not_offered(const char* what) {
  return guarded([&] {
    fail(
        StatusCode::unsupported,
        std::string(what) + ": this policy keeps nothing between steps; use kv_cache.plugin: kvc-persistent");
  });
}

}  // namespace

Status KvcNone::configure(const KvShape& shape) noexcept {
  return guarded([&] {
    if (!layers_.empty()) fail(StatusCode::internal, "configure: called twice");
    if (shape.layers < 1 || shape.kv_heads < 1 || shape.head_dim < 1 || shape.max_tokens < 1)
      fail(StatusCode::unsupported, "configure: layers " + std::to_string(shape.layers) + ", kv_heads " +
                                        std::to_string(shape.kv_heads) + ", head_dim " +
                                        std::to_string(shape.head_dim) + ", max_tokens " +
                                        std::to_string(shape.max_tokens) + ": all must be positive");
    layers_.resize(static_cast<std::size_t>(shape.layers));
    shape_ = shape;
  });
}

std::size_t KvcNone::check_layer(std::int64_t layer) const {
  if (layers_.empty()) fail(StatusCode::internal, "called before configure");
  if (layer < 0 || layer >= shape_.layers)
    fail(StatusCode::internal,
         "layer " + std::to_string(layer) + " is not in 0.." + std::to_string(shape_.layers - 1));
  return static_cast<std::size_t>(layer);
}

Status KvcNone::prepare(std::int64_t n, KvReserve& answer) noexcept {
  return guarded([&] {
    check_layer(0);
    if (step_)
      fail(StatusCode::internal,
           "prepare: " + std::to_string(prepared_) + " prepared tokens are neither committed nor aborted");
    if (n < 0) fail(StatusCode::internal, "prepare: " + std::to_string(n) + " tokens");
    if (n > shape_.max_tokens) {
      answer = KvReserve::full;
      return;
    }
    prepared_ = n;
    step_ = true;
    ++epoch_;
    answer = KvReserve::ok;
  });
}

Status KvcNone::write(std::int64_t layer, const at::Tensor& k, const at::Tensor& v) noexcept {
  return torch_guarded([&] {
    Layer& to = layers_[check_layer(layer)];
    if (!step_) fail(StatusCode::internal, "write: no step is prepared");
    const std::int64_t sizes[] = {prepared_, shape_.kv_heads, shape_.head_dim};
    for (const at::Tensor* t : {&k, &v}) {
      if (!t->defined() || t->scalar_type() != shape_.dtype || t->sizes() != at::IntArrayRef(sizes))
        fail(StatusCode::internal, std::string("write: ") + (t == &k ? "keys" : "values") + " must be " +
                                       c10::toString(shape_.dtype) + " [" + std::to_string(prepared_) + ", " +
                                       std::to_string(shape_.kv_heads) + ", " +
                                       std::to_string(shape_.head_dim) + "]");
    }
    to = {k.detach(), v.detach()};
    peak_bytes_ = std::max(peak_bytes_, held_bytes());
  });
}

Status KvcNone::view(std::int64_t layer, at::Tensor& k, at::Tensor& v) noexcept {
  return torch_guarded([&] {
    const Layer& from = layers_[check_layer(layer)];
    if (!step_) fail(StatusCode::internal, "view: no step is prepared, and nothing else is held");
    if (!from.k.defined())
      fail(StatusCode::internal, "view: layer " + std::to_string(layer) + " has " +
                                     std::to_string(prepared_) + " prepared tokens that were not written");
    k = from.k.transpose(0, 1);
    v = from.v.transpose(0, 1);
  });
}

Status KvcNone::attend(std::int64_t, const at::Tensor&, double, at::Tensor&) noexcept {
  return guarded([] { fail(StatusCode::unsupported, "attend: not offered; use view"); });
}

Status KvcNone::commit(std::int64_t n) noexcept {
  return guarded([&] {
    check_layer(0);
    if (!step_) fail(StatusCode::internal, "commit: no step is prepared");
    if (n < 0 || n > prepared_)
      fail(StatusCode::internal,
           "commit: " + std::to_string(n) + " of " + std::to_string(prepared_) + " prepared tokens");
    (void)abort();
  });
}

Status KvcNone::abort() noexcept {
  for (Layer& layer : layers_) layer = {};
  prepared_ = 0;
  step_ = false;
  return {};
}

Status KvcNone::truncate(std::int64_t length) noexcept {
  return length == 0 ? Status{} : not_offered("truncate");
}
Status KvcNone::fork(KvPolicy*&) noexcept {
  return not_offered("fork");
}
Status KvcNone::evict(std::int64_t, std::int64_t) noexcept {
  return not_offered("evict");
}
Status KvcNone::export_layer(std::int64_t, at::Tensor&) noexcept {
  return not_offered("export_layer");
}
Status KvcNone::begin_import(std::int64_t) noexcept {
  return not_offered("begin_import");
}
Status KvcNone::import_layer(std::int64_t, const at::Tensor&) noexcept {
  return not_offered("import_layer");
}

std::int64_t KvcNone::layer_token_bytes() const noexcept {
  return 2 * shape_.kv_heads * shape_.head_dim * static_cast<std::int64_t>(c10::elementSize(shape_.dtype));
}

std::int64_t KvcNone::held_bytes() const noexcept {
  std::int64_t tokens = 0;
  for (const Layer& layer : layers_)
    if (layer.k.defined()) tokens += prepared_;
  return tokens * layer_token_bytes();
}

KvMemory KvcNone::memory() const noexcept {
  return {held_bytes(), held_bytes(), peak_bytes_};
}

std::int64_t KvcNone::bytes_for(std::int64_t tokens) const noexcept {
  return std::min(tokens, shape_.max_tokens) * layer_token_bytes() * shape_.layers;
}

std::int64_t KvcNone::shrink_to(std::int64_t) noexcept {
  return held_bytes();
}

}  // namespace tetrad::kvc_none

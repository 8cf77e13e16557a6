// A KV policy for `plugins check` to find fault with: room for max_tokens taken at configure, every optional
// operation but shrink, and one deliberate defect, named by the option `fault`.
#include <ATen/ATen.h>
#include <tetrad/base/plugin.h>
#include <tetrad/torch/guarded.h>
#include <tetrad/torch/kv_policy.h>

#include <cmath>
#include <string>
#include <vector>

namespace {

using tetrad::KvLengths;
using tetrad::KvMemory;
using tetrad::KvReserve;
using tetrad::KvShape;
using tetrad::Status;
using tetrad::StatusCode;
using tetrad::StatusError;
using tetrad::torch_guarded;

[[noreturn]] void refuse(const std::string& text) {
  throw StatusError(StatusCode::internal, text);
}

class CheckKv final : public tetrad::KvPolicy {
 public:
  explicit CheckKv(const tetrad::Options& options) : fault_(options.get<std::string>("fault")) {}

  std::uint32_t capabilities() const noexcept override {
    return tetrad::kv_retains | tetrad::kv_lossless | tetrad::kv_truncate | tetrad::kv_fork |
           tetrad::kv_evict | tetrad::kv_export | tetrad::kv_native_attend | tetrad::kv_graph_safe |
           (is("claims_another_bit") ? tetrad::kv_shrink : 0U);
  }
  Status configure(const KvShape& shape) noexcept override {
    return torch_guarded([&] {
      if (!layers_.empty()) refuse("configured twice");
      if (shape.layers < 1) refuse("no layers");
      shape_ = shape;
      for (std::int64_t i = 0; i < shape.layers; ++i)
        layers_.push_back(
            {at::zeros({2, shape.kv_heads, shape.max_tokens, shape.head_dim}, shape.dtype), false});
    });
  }

  Status prepare(std::int64_t n, KvReserve& answer) noexcept override {
    return torch_guarded([&] {
      if (layers_.empty() || step_ || n < 0) refuse("prepare: not now");
      if (resident_ + n > shape_.max_tokens) {
        answer = is("full_is_an_error") ? throw StatusError(StatusCode::internal, "full") : KvReserve::full;
        return;
      }
      prepared_ = n;
      step_ = true;
      answer = KvReserve::ok;
    });
  }
  Status write(std::int64_t layer, const at::Tensor& k, const at::Tensor& v) noexcept override {
    return torch_guarded([&] {
      Layer& to = at_layer(layer);
      if (!step_ || !k.defined() || !v.defined() || k.scalar_type() != shape_.dtype)
        refuse("write: not this");
      if (k.sizes() != at::IntArrayRef({prepared_, shape_.kv_heads, shape_.head_dim}))
        refuse("write: wrong shape");
      const at::Tensor slots = to.kv.narrow(2, resident_, prepared_);
      if (is("write_adds") && to.written) {
        slots.select(0, 0).add_(k.transpose(0, 1));
      } else {
        slots.select(0, 0).copy_(k.transpose(0, 1));
      }
      slots.select(0, 1).copy_(v.transpose(0, 1));
      if (is("rounds")) slots.copy_(slots.to(at::kBFloat16));
      if (is("write_moves_lengths") && !to.written && layer == 0) next_ += prepared_;
      if (is("crashes_in_write")) *static_cast<volatile int*>(nullptr) = 1;
      to.written = true;
    });
  }
  Status view(std::int64_t layer, at::Tensor& k, at::Tensor& v) noexcept override {
    return torch_guarded([&] {
      const at::Tensor held = at_layer(layer).kv.narrow(2, 0, resident_ + (step_ ? prepared_ : 0));
      k = held.select(0, 0);
      v = held.select(0, is("swaps") && layer == 2 ? 0 : 1);
    });
  }
  Status attend(std::int64_t layer, const at::Tensor& q, double scale, at::Tensor& out) noexcept override {
    return torch_guarded([&] {
      at::Tensor k, v;
      if (!view(layer, k, v).ok()) refuse("attend: no such layer");
      const std::int64_t groups = q.size(1) / shape_.kv_heads, n = q.size(0), past = k.size(1) - n;
      at::Tensor scores =
          at::matmul(q.transpose(0, 1), k.repeat_interleave(groups, 0).transpose(1, 2)) * scale;
      // The first n rows of a lower triangle would be right only without a past.
      const std::int64_t diagonal = is("attends_from_the_top") ? 1 : past + 1;
      scores.masked_fill_(at::ones({n, k.size(1)}, at::kBool).triu(diagonal), -INFINITY);
      out.copy_(at::matmul(at::softmax(scores, -1), v.repeat_interleave(groups, 0)).transpose(0, 1));
    });
  }
  Status commit(std::int64_t n) noexcept override {
    return torch_guarded([&] {
      if (!step_ || n < 0 || n > prepared_) refuse("commit: not now");
      for (const Layer& layer : layers_)
        if (n > 0 && !layer.written) refuse("commit: a layer was not written");
      const std::int64_t accepted = is("commits_all") ? prepared_ : n;
      resident_ += accepted;
      if (!is("write_moves_lengths")) next_ += accepted;
      drop_step();
      if (is("moves_silently") && resident_ > 100 && !moved_) {
        for (Layer& layer : layers_) layer.kv = layer.kv.clone();
        moved_ = true;
      }
    });
  }
  Status abort() noexcept override {
    if (importing_ && !is("keeps_a_broken_import")) resident_ = next_ = 0;
    if (importing_ && is("keeps_a_broken_import")) resident_ = next_ = prepared_;
    drop_step();
    return {};
  }

  KvLengths lengths() const noexcept override { return {next_, resident_}; }
  Status truncate(std::int64_t length) noexcept override {
    return torch_guarded([&] {
      if (length < 0 || length > resident_) refuse("truncate: not that far");
      resident_ = next_ = length;
    });
  }
  Status fork(KvPolicy*& copy) noexcept override {
    return torch_guarded([&] {
      auto* other = new CheckKv(*this);
      if (!is("fork_shares"))
        for (Layer& layer : other->layers_) layer.kv = layer.kv.clone();
      copy = other;
    });
  }
  Status evict(std::int64_t begin, std::int64_t end) noexcept override {
    return torch_guarded([&] {
      if (begin < 0 || end < begin || end > resident_) refuse("evict: no such range");
      for (Layer& layer : layers_)
        layer.kv.narrow(2, begin, resident_ - end).copy_(layer.kv.narrow(2, end, resident_ - end).clone());
      resident_ -= end - begin;
      if (is("evict_moves_position")) next_ = resident_;
    });
  }
  Status reset() noexcept override {
    drop_step();
    resident_ = next_ = 0;
    return {};
  }

  Status export_layer(std::int64_t layer, at::Tensor& bytes) noexcept override {
    return torch_guarded([&] { bytes = at_layer(layer).kv.narrow(2, 0, resident_).clone(); });
  }
  Status begin_import(std::int64_t tokens) noexcept override {
    return torch_guarded([&] {
      if (step_ || tokens < 0 || tokens > shape_.max_tokens) refuse("begin_import: not that many");
      resident_ = next_ = 0;
      prepared_ = tokens;
      step_ = importing_ = true;
    });
  }
  Status import_layer(std::int64_t layer, const at::Tensor& bytes) noexcept override {
    return torch_guarded([&] {
      if (!importing_) refuse("import_layer: no import");
      Layer& to = at_layer(layer);
      if (bytes.sizes() != at::IntArrayRef({2, shape_.kv_heads, prepared_, shape_.head_dim}))
        refuse("wrong shape");
      to.kv.narrow(2, 0, prepared_).copy_(bytes);
      to.written = true;
    });
  }

  KvMemory memory() const noexcept override {
    const std::int64_t all = bytes_for(0);
    return {
        all,
        is("miscounts_memory") ? all + 1 : resident_ * (all / std::max<std::int64_t>(shape_.max_tokens, 1)),
        all};
  }
  std::int64_t bytes_for(std::int64_t) const noexcept override {
    std::int64_t all = 0;
    for (const Layer& layer : layers_) all += static_cast<std::int64_t>(layer.kv.nbytes());
    return all;
  }
  std::int64_t shrink_to(std::int64_t) noexcept override { return bytes_for(0); }
  std::uint64_t graph_epoch() const noexcept override { return 1; }

 private:
  struct Layer {
    at::Tensor kv;  // [2, kv_heads, max_tokens, head_dim]
    bool written = false;
  };
  bool is(const char* fault) const { return fault_ == fault; }
  Layer& at_layer(std::int64_t layer) {
    if (layer < 0 || layer >= static_cast<std::int64_t>(layers_.size())) refuse("no such layer");
    return layers_[static_cast<std::size_t>(layer)];
  }
  void drop_step() {
    step_ = importing_ = false;
    prepared_ = 0;
    for (Layer& layer : layers_) layer.written = false;
  }

  std::string fault_;
  KvShape shape_;
  std::vector<Layer> layers_;
  std::int64_t resident_ = 0, next_ = 0, prepared_ = 0;
  bool step_ = false, importing_ = false, moved_ = false;
};

}  // namespace

TETRAD_PLUGIN(tetrad::Provides<"kv_cache", tetrad::KvPolicy, CheckKv>);

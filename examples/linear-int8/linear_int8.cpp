// A linear backend of one file: w is stored as q * s with q in -127..127 and one fp32 scale s for each row.
// Training path: the parameter stays dense and is quantised on the way into each product (the gradient goes
// straight through); eval passes keep the dequantised weight. Bridge path: prepare() keeps q and s, and drops
// the dense values. The three functions at the top are the numerics; the rest is what any backend has.
#include <ATen/ATen.h>
#include <tetrad/base/plugin.h>
#include <tetrad/torch/guarded.h>
#include <tetrad/torch/linear.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

namespace {

using tetrad::Capability;
using tetrad::Format;
using tetrad::LinearMemory;
using tetrad::LinearSetup;
using tetrad::Parameter;
using tetrad::Pass;
using tetrad::Path;
using tetrad::Status;
using tetrad::StatusCode;
using tetrad::StatusError;
using tetrad::Support;
using tetrad::torch_guarded;
using tetrad::WeightId;

struct Packed {
  at::Tensor q;      // int8 [N, K]
  at::Tensor scale;  // fp32 [N, 1]
};

Packed quantise(const at::Tensor& w, const std::string& name) {
  const at::Tensor values = w.to(at::kFloat);
  const at::Tensor amax = values.abs().amax(1, /*keepdim=*/true);
  if (!at::isfinite(amax).all().item<bool>())
    throw StatusError(StatusCode::numerics, "'" + name + "' holds a value that is not finite");
  const at::Tensor scale = at::where(amax.eq(0), at::ones_like(amax), amax / 127);
  return {(values / scale).round().clamp(-127, 127).to(at::kChar), scale};
}

at::Tensor dequantise(const Packed& packed, at::ScalarType dtype) {
  return (packed.q.to(at::kFloat) * packed.scale).to(dtype);
}

std::int64_t bytes_of(const Packed& packed) {
  return static_cast<std::int64_t>(packed.q.nbytes() + packed.scale.nbytes());
}

// What the host guarantees is not checked; what a mistake could break is, with names and sizes.
[[noreturn]] void refuse(const std::string& text, StatusCode code = StatusCode::internal) {
  throw StatusError(code, "[linear-int8] " + text);
}

std::string text_of(const at::Tensor& t) {
  if (!t.defined()) return "an undefined tensor";
  std::string sizes;
  for (const std::int64_t size : t.sizes()) sizes += (sizes.empty() ? "" : ", ") + std::to_string(size);
  return std::string(at::toString(t.scalar_type())) + " [" + sizes + "]";
}

class LinearInt8 final : public tetrad::LinearBackend {
 public:
  explicit LinearInt8(const tetrad::Options& options)
      : eval_cache_(options.get<bool>("eval_cache")), tile_(options.get<std::int64_t>("tile")) {}

  Capability capability(const LinearSetup& setup) const noexcept override {
    if (!setup.device.is_cpu())
      return {Support::unsupported, "", "it computes on the CPU; use model.device: cpu"};
    if (setup.dtype != at::kBFloat16 && setup.dtype != at::kFloat)
      return {Support::unsupported, "", "it computes in bfloat16 or float32; use model.dtype: bfloat16"};
    return {Support::native, "int8-w8a16", "8-bit weights, activations as they are"};
  }

  Status configure(const LinearSetup& setup) noexcept override {
    return torch_guarded([&] {
      if (configured_) refuse("configure: called twice");
      const Capability can = capability(setup);
      if (can.support == Support::unsupported) refuse(can.reason, StatusCode::unsupported);
      setup_ = setup;
      configured_ = true;
    });
  }

  Status prepare(Parameter& p, WeightId& weight) noexcept override {
    return torch_guarded([&] {
      if (!configured_) refuse("prepare: called before configure");
      if (p.shape.size() != 2) refuse("'" + p.name + "' is not a matrix", StatusCode::unsupported);
      if (p.format != Format::bf16 && p.format != Format::fp32)
        refuse("'" + p.name + "' is not stored dense, in bf16 or fp32", StatusCode::unsupported);
      if (!p.dense.defined() || p.dense.sizes() != at::IntArrayRef(p.shape) ||
          p.dense.scalar_type() != setup_.dtype)
        refuse("'" + p.name + "': its values are " + text_of(p.dense));
      Weight w{&p, {}, {}, {}};
      if (setup_.path == Path::bridge) {
        w.packed = quantise(p.dense, p.name);
        p.dense = at::Tensor();
        p.format = Format::opaque;
      } else {
        quantise(p.dense, p.name);  // what cannot be stored is refused now, not in the middle of a run
      }
      weights_.push_back(std::move(w));
      weight = static_cast<WeightId>(weights_.size() - 1);
      ++epoch_;
    });
  }

  Status forward(std::span<const WeightId> ids, const at::Tensor& x, Pass pass,
                 std::vector<at::Tensor>& y) noexcept override {
    return torch_guarded([&] {
      std::vector<at::Tensor> results;
      for (const WeightId id : ids) {
        Weight& w = at_id(id);
        require_matrix("forward: x", x, columns(w));
        results.push_back(setup_.path == Path::bridge ? by_tiles(w, x) : at::linear(x, values(w, pass)));
      }
      y = std::move(results);  // only now: on failure y is as it was
    });
  }

  // Rows are quantised one by one, so some of them are what they are in the whole.
  Status gather(WeightId weight, const at::Tensor& ids, at::Tensor& out) noexcept override {
    return torch_guarded([&] {
      const Weight& w = at_id(weight);
      if (setup_.path == Path::bridge) {
        out = dequantise({at::index_select(w.packed.q, 0, ids), at::index_select(w.packed.scale, 0, ids)},
                         setup_.dtype);
      } else {
        out = dequantise(quantise(at::index_select(w.parameter->dense, 0, ids), w.parameter->name),
                         setup_.dtype);
      }
    });
  }

  Status grad_input(WeightId weight, const at::Tensor& dy, at::Tensor& dx) noexcept override {
    return torch_guarded([&] {
      Weight& w = at_id(weight);
      require_matrix("grad_input: dy", dy, w.parameter->shape[0]);
      dx = at::mm(dy, values(w, Pass::train));
    });
  }

  Status grad_weight(WeightId weight, const at::Tensor& dy, const at::Tensor& x,
                     at::Tensor& dw) noexcept override {
    return torch_guarded([&] {
      const Weight& w = at_id(weight);
      require_matrix("grad_weight: dy", dy, w.parameter->shape[0]);
      require_matrix("grad_weight: x", x, columns(w));
      dw = at::mm(dy.t(), x);
    });
  }

  Status dequantized(WeightId weight, at::Tensor& out) noexcept override {
    return torch_guarded([&] { out = values(at_id(weight), Pass::train); });
  }

  std::int64_t clear_eval_cache() noexcept override {
    const std::int64_t bytes = memory().eval_cache_bytes;
    for (Weight& w : weights_) w.cache = at::Tensor();
    if (bytes > 0) ++epoch_;
    return bytes;
  }

  LinearMemory memory() const noexcept override {
    LinearMemory result;
    for (const Weight& w : weights_) {
      if (w.packed.q.defined()) result.weight_bytes += bytes_of(w.packed);
      if (w.cache.defined()) result.eval_cache_bytes += static_cast<std::int64_t>(w.cache.nbytes());
    }
    return result;
  }

  std::uint64_t weight_epoch() const noexcept override { return epoch_; }

 private:
  struct Weight {
    Parameter* parameter;
    Packed packed;                           // bridge path
    at::Tensor cache;                        // training path, eval passes: [N, K] of the setup's dtype
    std::optional<std::uint64_t> cached_at;  // the parameter's version that the cache was made from
  };

  static std::int64_t columns(const Weight& w) { return w.parameter->shape[1]; }

  Weight& at_id(WeightId id) {
    if (id < 0 || static_cast<std::size_t>(id) >= weights_.size())
      refuse("weight id " + std::to_string(id) + " was never prepared");
    return weights_[static_cast<std::size_t>(id)];
  }

  void require_matrix(const char* what, const at::Tensor& t, std::int64_t columns) const {
    if (t.defined() && t.dim() == 2 && t.size(1) == columns && t.scalar_type() == setup_.dtype &&
        t.device().is_cpu())
      return;
    refuse(std::string(what) + " is " + text_of(t) + ", expected " + at::toString(setup_.dtype) + " [*, " +
           std::to_string(columns) + "]");
  }

  // The weight as products see it.
  at::Tensor values(Weight& w, Pass pass) {
    if (setup_.path == Path::bridge) return dequantise(w.packed, setup_.dtype);
    const Parameter& p = *w.parameter;
    if (pass == Pass::train || !eval_cache_) return dequantise(quantise(p.dense, p.name), setup_.dtype);
    if (!w.cache.defined() || w.cached_at != p.version) {
      w.cache = dequantise(quantise(p.dense, p.name), setup_.dtype);
      w.cached_at = p.version;
      ++epoch_;
    }
    return w.cache;
  }

  // x * W^T without ever holding the whole of W.
  at::Tensor by_tiles(const Weight& w, const at::Tensor& x) const {
    std::vector<at::Tensor> parts;
    const std::int64_t rows = w.packed.q.size(0);
    for (std::int64_t from = 0; from < rows; from += tile_) {
      const std::int64_t n = std::min(tile_, rows - from);
      const Packed tile{w.packed.q.narrow(0, from, n), w.packed.scale.narrow(0, from, n)};
      parts.push_back(at::linear(x, dequantise(tile, setup_.dtype)));
    }
    return at::cat(parts, 1);
  }

  bool eval_cache_;
  std::int64_t tile_;
  bool configured_ = false;
  LinearSetup setup_;
  std::vector<Weight> weights_;
  std::uint64_t epoch_ = 0;
};

}  // namespace

TETRAD_PLUGIN(tetrad::Provides<"linear", tetrad::LinearBackend, LinearInt8>);

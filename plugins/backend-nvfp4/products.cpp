// The computing half of BackendNvfp4: strips of a dequantised weight, and the products over them.
#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>
#include <tetrad/nvfp4/dense_product.h>
#include <tetrad/nvfp4/product.h>
#include <tetrad/torch/guarded.h>

#include <algorithm>
#include <string>

#include "backend_nvfp4.h"
#include "common.h"
#include "common/few_rows.h"
#include "device_kernels.h"

namespace tetrad::backend_nvfp4 {
namespace {

// Elements of a dequantised strip: 4 MiB of bf16 on a CPU; more on a GPU, where a product should fill the
// device.
constexpr std::int64_t kStripCpu = std::int64_t{2} << 20;
constexpr std::int64_t kStripCuda = std::int64_t{32} << 20;
// Of weights that a training pass keeps decoded: more than a block of Qwen3-4B has.
constexpr std::int64_t kRecentBytes = std::int64_t{256} << 20;

// Rows of x up to which the packed product is used. It decodes the weight once for every 8 of them, in
// registers: three times that costs less than writing a strip and reading it back.
constexpr std::int64_t kFewRowsPacked = 24;
// The same for a dense weight in bf16: beyond, libtorch's product reads it less often.
constexpr std::int64_t kFewRowsDense = 4;

// Calls f with a pointer to the values of x [m, k], contiguous: as they are in bf16 and fp32, widened to fp32
// otherwise.
template <class F>
void with_values(const at::Tensor& x, F&& f) {
  const bool narrow = x.scalar_type() == at::kBFloat16;
  const at::Tensor from = (narrow ? x : x.to(at::kFloat)).contiguous();
  if (narrow)
    f(static_cast<const nvfp4::Bf16*>(from.const_data_ptr()));
  else
    f(static_cast<const float*>(from.const_data_ptr()));
}

nvfp4::DenseView dense_view(const at::Tensor& values, float alpha) {
  return {static_cast<const nvfp4::Bf16*>(values.const_data_ptr()), alpha, values.size(0), values.size(1)};
}

// a * b * alpha, alpha on the fp32 sum before it is rounded.
at::Tensor scaled_mm(const at::Tensor& a, const at::Tensor& b, float alpha) {
  if (alpha == 1.0F) return at::mm(a, b);
  return at::addmm(at::zeros({1}, a.options()), a, b, /*beta=*/0, alpha);
}

// values = values * alpha in fp32, rounded once: what a decode scale that products apply to their sums makes
// of the weight itself.
void scale_values(const at::Tensor& values, float alpha) {
  values.copy_(values.to(at::kFloat).mul_(alpha));
}

}  // namespace

std::int64_t BackendNvfp4::strip_rows(std::int64_t cols) const {
  const std::int64_t elements = setup_.device.is_cpu() ? kStripCpu : kStripCuda;
  return std::max<std::int64_t>(1, elements / std::max<std::int64_t>(cols, 1));
}

at::ScalarType BackendNvfp4::product_dtype() const {
  return options_.compute == Compute::reference ? at::kFloat : setup_.dtype;
}

at::Tensor BackendNvfp4::workspace(std::int64_t rows, std::int64_t cols, at::ScalarType dtype) {
  const std::int64_t bytes = rows * cols * static_cast<std::int64_t>(c10::elementSize(dtype));
  if (!workspace_.defined() || workspace_.numel() < bytes) {
    workspace_ = at::Tensor();  // the old one goes first
    ++epoch_;
    workspace_ = at::empty({bytes}, at::TensorOptions().dtype(at::kByte).device(setup_.device));
  }
  return workspace_.narrow(0, 0, bytes).view(dtype).view({rows, cols});
}

void BackendNvfp4::decode(const Weight& w, std::int64_t first, float scale, const at::Tensor& out) const {
  const Parameter& p = *w.parameter;
  const std::int64_t rows = out.size(0);
  if (w.source == Source::planes)
    codec_->dequantize(planes_of(p).rows(first, rows), scale, out);
  else
    codec_->requantize(p.dense.narrow(0, first, rows), w.global, scale, out);
}

bool BackendNvfp4::cache_is_fresh(const Weight& w) const {
  return w.cache.defined() && w.cached_at == w.parameter->version;
}

const at::Tensor& BackendNvfp4::filled_cache(Weight& w) {
  if (cache_is_fresh(w)) return w.cache;
  const Parameter& p = *w.parameter;
  const float decode_by = decode_scale(w);
  w.cached_at.reset();
  if (!w.cache.defined()) {
    w.cache =
        at::empty({p.shape[0], p.shape[1]}, at::TensorOptions().dtype(setup_.dtype).device(setup_.device));
    ++epoch_;
  }
  const std::int64_t step = strip_rows(p.shape[1]);
  for (std::int64_t r = 0; r < p.shape[0]; r += step)
    decode(w, r, folds_in(p, decode_by) ? decode_by : 1.0F,
           w.cache.narrow(0, r, std::min(step, p.shape[0] - r)));
  w.cached_at = p.version;
  return w.cache;
}

at::Tensor BackendNvfp4::joint_cache(std::span<const WeightId> weights) {
  if (setup_.device.is_cpu() || weights.size() < 2 || product_dtype() != setup_.dtype) return {};
  const std::int64_t cols = at_id(weights[0]).parameter->shape[1];
  std::int64_t rows = 0;
  const at::Tensor first = at_id(weights[0]).cache;
  bool joined = first.defined();
  for (std::size_t i = 0; i < weights.size(); ++i) {
    Weight& w = at_id(weights[i]);
    if (w.source == Source::as_is || !folds_in(*w.parameter, decode_scale(w)) ||
        w.parameter->shape[0] % 8 != 0 || std::ranges::count(weights.first(i), weights[i]) > 0)
      return {};
    joined = joined && w.cache.defined() && w.cache.is_alias_of(first) &&
             w.cache.storage_offset() == first.storage_offset() + rows * cols;
    rows += w.parameter->shape[0];
  }
  at::Tensor joint;
  if (joined) {
    joint = first.as_strided({rows, cols}, {cols, 1}, first.storage_offset());
  } else {
    for (const WeightId id : weights) at_id(id).cache = at::Tensor();  // the old ones go first
    ++epoch_;                                                          // and a graph may hold them
    joint = at::empty({rows, cols}, at::TensorOptions().dtype(setup_.dtype).device(setup_.device));
    std::int64_t from = 0;
    for (const WeightId id : weights) {
      Weight& w = at_id(id);
      w.cached_at.reset();
      w.cache = joint.narrow(0, from, w.parameter->shape[0]);
      from += w.parameter->shape[0];
    }
  }
  for (const WeightId id : weights) filled_cache(at_id(id));
  return joint;
}

void BackendNvfp4::forget_recent(Weight& w) {
  if (w.recent.defined()) recent_bytes_ -= static_cast<std::int64_t>(w.recent.nbytes());
  w.recent = at::Tensor();
  w.recent_at.reset();
}

at::Tensor BackendNvfp4::recent_values(Weight& w, float fold) {
  const Parameter& p = *w.parameter;
  if (setup_.device.is_cpu() || p.shape[0] > strip_rows(p.shape[1])) return {};
  w.recent_use = ++recent_uses_;
  if (w.recent.defined() && w.recent_at == p.version) return w.recent;
  forget_recent(w);
  const std::int64_t bytes = p.numel() * static_cast<std::int64_t>(c10::elementSize(setup_.dtype));
  while (recent_bytes_ > 0 && recent_bytes_ + bytes > kRecentBytes) {
    Weight* oldest = nullptr;
    for (Weight& other : weights_)
      if (other.recent.defined() && (oldest == nullptr || other.recent_use < oldest->recent_use))
        oldest = &other;
    forget_recent(*oldest);
  }
  at::Tensor values =
      at::empty({p.shape[0], p.shape[1]}, at::TensorOptions().dtype(setup_.dtype).device(setup_.device));
  decode(w, 0, fold, values);
  w.recent = values;
  w.recent_at = p.version;
  recent_bytes_ += bytes;
  return values;
}

void BackendNvfp4::for_each_strip(Weight& w, Reuse reuse, const Strip& visit) {
  const Parameter& p = *w.parameter;
  const std::int64_t rows = p.shape[0], cols = p.shape[1], step = strip_rows(cols);
  const at::ScalarType dtype = product_dtype();
  at::Tensor whole;
  float fold = 1.0F, alpha = 1.0F;
  if (w.source == Source::as_is) {
    whole = p.dense;
  } else {
    const float decode_by = decode_scale(w);
    // What is folded is decided by the setup's dtype on all paths: cached and fresh strips are the same.
    (folds_in(p, decode_by) ? fold : alpha) = decode_by;
    if (reuse == Reuse::cache) whole = filled_cache(w);
    if (reuse == Reuse::recent) whole = recent_values(w, fold);
  }
  for (std::int64_t r = 0; r < rows; r += step) {
    const std::int64_t n = std::min(step, rows - r);
    if (whole.defined()) {
      visit(r, whole.narrow(0, r, n).to(dtype), alpha);
    } else {
      const at::Tensor strip = workspace(n, cols, setup_.dtype);
      decode(w, r, fold, strip);
      visit(r, strip.to(dtype), alpha);
    }
  }
}

bool BackendNvfp4::meets_packed(const Weight& w, const at::Tensor& x) const {
  if (w.source != Source::planes || setup_.path != Path::bridge) return false;
  if (setup_.device.is_cpu())
    return options_.compute != Compute::reference && residuals(*w.parameter) == 0 &&
           x.size(0) <= kFewRowsPacked;
  const DeviceKernels* kernels = device_kernels();
  return kernels != nullptr && kernels->takes_packed(x.size(0), setup_.dtype, residuals(*w.parameter));
}

bool BackendNvfp4::meets_dense(const at::Tensor& x) const {
  return setup_.device.is_cpu() && product_dtype() == at::kBFloat16 && x.size(0) <= kFewRowsDense;
}

void BackendNvfp4::packed_product(std::span<const WeightId> weights, const at::Tensor& x,
                                  std::vector<at::Tensor>& y) {
  if (!setup_.device.is_cpu()) {
    std::vector<PackedWeight> packed;
    for (const WeightId id : weights) {
      const Parameter& p = *at_id(id).parameter;
      packed.push_back({planes_of(p), p.planes.decode_scale});
    }
    y = device_kernels()->packed_products(packed, x);
    return;
  }
  const std::int64_t m = x.size(0), k = x.size(1), padded = nvfp4::packed_cols(k);
  std::vector<nvfp4::PackedView> views;
  for (const WeightId id : weights) {
    const Parameter& p = *at_id(id).parameter;
    views.push_back({static_cast<const std::uint8_t*>(p.planes.codes.const_data_ptr()),
                     static_cast<const std::uint8_t*>(p.planes.scales.const_data_ptr()),
                     p.planes.decode_scale, p.shape[0], k});
    y.push_back(at::empty({m, p.shape[0]}, x.options()));
  }
  prepared_.resize(static_cast<std::size_t>(nvfp4::prepared_floats(m, k)));
  with_values(x, [&](const auto* values) { nvfp4::prepare(values, m, k, k, prepared_.data()); });
  few_rows::run(y, m, k, [&](std::size_t w, std::int64_t first, std::int64_t count, float* out) {
    nvfp4::PackedView view = views[w];
    view.codes += first * (padded / 2);
    view.scales += first * (padded / nvfp4::kBlock);
    nvfp4::product_prepared(prepared_.data(), m, view, 0, count, out, count);
  });
}

void BackendNvfp4::dense_product(std::span<const WeightId> weights, const at::Tensor& x,
                                 std::vector<at::Tensor>& y) {
  std::vector<nvfp4::DenseView> views;
  for (const WeightId id : weights) {
    Weight& w = at_id(id);
    if (w.source == Source::as_is) {
      views.push_back(dense_view(w.parameter->dense, 1.0F));
    } else {
      const float decode_by = decode_scale(w);
      views.push_back(dense_view(filled_cache(w), folds_in(*w.parameter, decode_by) ? 1.0F : decode_by));
    }
    y.push_back(at::empty({x.size(0), w.parameter->shape[0]}, x.options()));
  }
  dense_rows(x, views, y);
}

void BackendNvfp4::dense_rows(const at::Tensor& x, const std::vector<nvfp4::DenseView>& views,
                              const std::vector<at::Tensor>& y) {
  const std::int64_t m = x.size(0), k = x.size(1);
  prepared_.resize(static_cast<std::size_t>(nvfp4::dense_prepared_floats(m, k)));
  with_values(x, [&](const auto* values) { nvfp4::dense_prepare(values, m, k, k, prepared_.data()); });
  few_rows::run(y, m, k, [&](std::size_t w, std::int64_t first, std::int64_t count, float* out) {
    nvfp4::DenseView view = views[w];
    view.values += first * k;
    nvfp4::dense_product_prepared(prepared_.data(), m, view, 0, count, out, count);
  });
}

at::Tensor BackendNvfp4::strip_product(Weight& w, const at::Tensor& x, Reuse reuse) {
  const Parameter& p = *w.parameter;
  const at::Tensor in = x.to(product_dtype());
  at::Tensor y;
  for_each_strip(w, reuse, [&](std::int64_t first, const at::Tensor& strip, float alpha) {
    at::Tensor part;
    if (meets_dense(x)) {
      part = at::empty({x.size(0), strip.size(0)}, x.options());
      dense_rows(x, {dense_view(strip, alpha)}, {part});
    } else {
      part = scaled_mm(in, strip.t(), alpha);
    }
    if (strip.size(0) == p.shape[0]) {
      y = part.to(setup_.dtype);
      return;
    }
    if (!y.defined()) y = at::empty({x.size(0), p.shape[0]}, x.options());
    y.narrow(1, first, strip.size(0)).copy_(part);
  });
  if (!y.defined()) y = at::empty({x.size(0), p.shape[0]}, x.options());
  return y;
}

Fp4Operand BackendNvfp4::make_operand(Weight& w) {
  const Parameter& p = *w.parameter;
  const float decode_by = decode_scale(w);
  const at::Tensor decode =
      at::full({1}, decode_by, at::TensorOptions().dtype(at::kFloat).device(setup_.device));
  if (w.source == Source::planes) return fp4_operand(*codec_, p.planes.codes, p.planes.scales, decode, true);
  const std::int64_t padded = nvfp4::packed_cols(p.shape[1]);
  const auto bytes = at::TensorOptions().dtype(at::kByte).device(setup_.device);
  const at::Tensor codes = at::empty({p.shape[0], padded / 2}, bytes);
  const at::Tensor scales = at::empty({p.shape[0], padded / nvfp4::kBlock}, bytes);
  codec_->quantize(p.dense, w.global, codes, scales);
  return fp4_operand(*codec_, codes, scales, decode, true);
}

at::Tensor BackendNvfp4::native_product(Weight& w, const Fp4Operand& x, bool keep) {
  if (!keep) return fp4_product_(x, make_operand(w), setup_.dtype);
  if (w.operand_at != w.parameter->version) {
    w.operand_at.reset();
    w.operand = {};
    w.operand = make_operand(w);
    w.operand_at = w.parameter->version;
    ++epoch_;
  }
  return fp4_product_(x, w.operand, setup_.dtype);
}

Status BackendNvfp4::forward(std::span<const WeightId> weights, const at::Tensor& x, Pass pass,
                             std::vector<at::Tensor>& y) noexcept {
  return torch_guarded([&] {
    const bool cached = setup_.path == Path::training && pass == Pass::eval && options_.eval_cache;
    const bool trains = setup_.path == Path::training && pass == Pass::train;
    const Reuse reuse = cached ? Reuse::cache : trains ? Reuse::recent : Reuse::none;
    bool packed = !weights.empty(), dense = packed;
    std::size_t quantised = 0;
    for (const WeightId id : weights) {
      Weight& w = at_id(id);
      check_matrix("forward: x", x, w.parameter->shape[1], setup_, *w.parameter);
      packed = packed && meets_packed(w, x);
      dense = dense && meets_dense(x) && (cached || w.source == Source::as_is);
      if (options_.quantise_activations && w.source != Source::as_is) ++quantised;
    }
    std::vector<at::Tensor> results;
    results.reserve(weights.size());
    // Weights that stay dense read x itself, whoever shares it with them.
    const bool native = options_.compute == Compute::native && quantised > 0;
    const at::Tensor rounded = quantised > 0 && !native ? codec_->activations(x) : x;
    if (native) {
      const Fp4Operand operand = activation_operand(*codec_, x);
      for (const WeightId id : weights) {
        Weight& w = at_id(id);
        results.push_back(w.source == Source::as_is
                              ? strip_product(w, x, reuse)
                              : native_product(w, operand, cached || setup_.path == Path::bridge));
      }
    } else if (packed) {
      packed_product(weights, rounded, results);
    } else if (dense && (quantised == 0 || quantised == weights.size())) {
      dense_product(weights, rounded, results);
    } else if (const at::Tensor joint = cached ? joint_cache(weights) : at::Tensor();
               joint.defined() && x.size(0) == 1) {
      const at::Tensor all = at::mm(rounded, joint.t());
      std::int64_t from = 0;
      for (const WeightId id : weights) {
        const std::int64_t rows = at_id(id).parameter->shape[0];
        results.push_back(all.narrow(1, from, rows));
        from += rows;
      }
    } else {
      for (const WeightId id : weights) {
        Weight& w = at_id(id);
        results.push_back(strip_product(w, w.source == Source::as_is ? x : rounded, reuse));
      }
    }
    y = std::move(results);
  });
}

Status BackendNvfp4::gather(WeightId weight, const at::Tensor& ids, at::Tensor& out) noexcept {
  return torch_guarded([&] {
    Weight& w = at_id(weight);
    const Parameter& p = *w.parameter;
    if (!ids.defined() || ids.dim() != 1 || (ids.scalar_type() != at::kLong && ids.scalar_type() != at::kInt))
      fail(StatusCode::internal,
           "gather: ids for '" + p.name + "' must be int64 [*], they are " + tensor_text(ids));
    if (w.source == Source::as_is) {
      out = at::index_select(p.dense, 0, ids);
      return;
    }
    const float decode_by = decode_scale(w);
    const bool fold = folds_in(p, decode_by);
    if (fold && cache_is_fresh(w)) {
      out = at::index_select(w.cache, 0, ids);
      return;
    }
    // Blocks lie along rows: some rows of the weight are quantised, or decoded, like all of them.
    const at::Tensor rows =
        at::empty({ids.size(0), p.shape[1]}, at::TensorOptions().dtype(setup_.dtype).device(setup_.device));
    const float scale = fold ? decode_by : 1.0F;
    if (w.source == Source::planes) {
      codec_->gather(planes_of(p), ids, scale, rows);
    } else {
      codec_->requantize(at::index_select(p.dense, 0, ids), w.global, scale, rows);
    }
    if (!fold) scale_values(rows, decode_by);
    out = rows;
  });
}

Status BackendNvfp4::grad_input(WeightId weight, const at::Tensor& dy, at::Tensor& dx) noexcept {
  return torch_guarded([&] {
    Weight& w = at_id(weight);
    const Parameter& p = *w.parameter;
    check_matrix("grad_input: dy", dy, p.shape[0], setup_, p);
    at::Tensor sum;  // fp32, over strips
    for_each_strip(w, Reuse::recent, [&](std::int64_t first, const at::Tensor& strip, float alpha) {
      if (strip.size(0) == p.shape[0]) {
        sum = scaled_mm(dy.to(strip.scalar_type()), strip, alpha);
        return;
      }
      if (!sum.defined()) sum = at::zeros({dy.size(0), p.shape[1]}, dy.options().dtype(at::kFloat));
      sum.addmm_(dy.narrow(1, first, strip.size(0)).to(at::kFloat), strip.to(at::kFloat), 1, alpha);
    });
    dx = sum.defined() ? sum.to(setup_.dtype) : at::zeros({dy.size(0), p.shape[1]}, dy.options());
  });
}

Status BackendNvfp4::grad_weight(WeightId weight, const at::Tensor& dy, const at::Tensor& x,
                                 at::Tensor& dw) noexcept {
  return torch_guarded([&] {
    const Weight& w = at_id(weight);
    const Parameter& p = *w.parameter;
    check_matrix("grad_weight: dy", dy, p.shape[0], setup_, p);
    check_matrix("grad_weight: x", x, p.shape[1], setup_, p);
    const at::ScalarType dtype = product_dtype();
    const bool rounds = options_.quantise_activations && w.source != Source::as_is;
    const at::Tensor read = rounds ? codec_->activations(x) : x;
    dw = at::mm(dy.to(dtype).t(), read.to(dtype)).to(setup_.dtype);
  });
}

Status BackendNvfp4::dequantized(WeightId weight, at::Tensor& out) noexcept {
  return torch_guarded([&] {
    Weight& w = at_id(weight);
    const Parameter& p = *w.parameter;
    if (w.source == Source::as_is) {
      out = p.dense;
      return;
    }
    const float decode_by = decode_scale(w);
    const bool fold = folds_in(p, decode_by);
    const at::Tensor whole =
        at::empty({p.shape[0], p.shape[1]}, at::TensorOptions().dtype(setup_.dtype).device(setup_.device));
    const std::int64_t step = strip_rows(p.shape[1]);
    for (std::int64_t r = 0; r < p.shape[0]; r += step) {
      const at::Tensor rows = whole.narrow(0, r, std::min(step, p.shape[0] - r));
      decode(w, r, fold ? decode_by : 1.0F, rows);
      if (!fold) scale_values(rows, decode_by);
    }
    out = whole;
  });
}

}  // namespace tetrad::backend_nvfp4

#include "backend_bf16.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mm.h>
#include <c10/core/ScalarType.h>
#include <tetrad/nvfp4/dense_product.h>
#include <tetrad/torch/guarded.h>

#include <string>

#include "common/few_rows.h"

namespace tetrad::backend_bf16 {
namespace {

// Rows of x up to which the product for few rows is used: beyond, libtorch's reads the weight less often.
constexpr std::int64_t kFewRows = 4;

[[noreturn]] void fail(StatusCode code, const std::string& text) {
  throw StatusError(code, text);
}

std::string shape_text(at::IntArrayRef sizes) {
  std::string text = "[";
  for (std::size_t i = 0; i < sizes.size(); ++i) text += (i ? ", " : "") + std::to_string(sizes[i]);
  return text + "]";
}

const char* format_text(Format format) {
  return format == Format::nvfp4_hi ? "nvfp4 (one plane)" : format_name(format);
}

// "cuda" without an index means whichever device the tensors are on.
bool same_device(at::Device device, at::Device setup) {
  return device.type() == setup.type() && (!setup.has_index() || device.index() == setup.index());
}

// An operand [rows, columns] in the setup's dtype and device; libtorch would say less about what is wrong.
void check_matrix(const char* what, const at::Tensor& t, std::int64_t columns, const LinearSetup& setup,
                  const Parameter& p) {
  if (t.defined() && t.dim() == 2 && t.size(1) == columns && t.scalar_type() == setup.dtype &&
      same_device(t.device(), setup.device))
    return;
  fail(StatusCode::internal, std::string(what) + " for '" + p.name + "': expected " +
                                 c10::toString(setup.dtype) + " [*, " + std::to_string(columns) + "] on " +
                                 setup.device.str() + ", got " +
                                 (t.defined() ? std::string(c10::toString(t.scalar_type())) + " " +
                                                    shape_text(t.sizes()) + " on " + t.device().str()
                                              : "an undefined tensor"));
}

}  // namespace

Capability BackendBf16::capability(const LinearSetup& setup) const noexcept {
  try {
    if (setup.dtype != at::kBFloat16 && setup.dtype != at::kHalf && setup.dtype != at::kFloat)
      return {Support::unsupported, "",
              std::string("no dense products in ") + c10::toString(setup.dtype) +
                  "; use model.dtype: bfloat16, float16 or float32"};
    if (!setup.device.is_cpu() && !setup.device.is_cuda())
      return {Support::unsupported, "", "no products on " + setup.device.str() + "; use cpu or cuda"};
    return {Support::native, "dense", "libtorch's own product on dense weights"};
  } catch (...) {
    return {};
  }
}

Status BackendBf16::configure(const LinearSetup& setup) noexcept {
  return torch_guarded([&] {
    if (configured_) fail(StatusCode::internal, "configure: called twice");
    const Capability can = capability(setup);
    if (can.support == Support::unsupported) fail(StatusCode::unsupported, can.reason);
    setup_ = setup;
    configured_ = true;
  });
}

Status BackendBf16::prepare(Parameter& parameter, WeightId& weight) noexcept {
  return torch_guarded([&] {
    if (!configured_) fail(StatusCode::internal, "prepare: called before configure");
    const Parameter& p = parameter;
    if (p.shape.size() != 2)
      fail(StatusCode::unsupported,
           "'" + p.name + "' has shape " + shape_text(p.shape) + "; a linear weight is a matrix [N, K]");
    if (p.format != Format::bf16 && p.format != Format::fp16 && p.format != Format::fp32)
      fail(StatusCode::unsupported,
           "'" + p.name + "' is stored as " + format_text(p.format) +
               "; this backend holds dense weights only: use linear.plugin: backend-nvfp4");
    if (!p.dense.defined() || p.dense.sizes() != at::IntArrayRef(p.shape))
      fail(StatusCode::internal, "'" + p.name + "' has no dense values of shape " + shape_text(p.shape));
    if (p.dense.scalar_type() != setup_.dtype || !same_device(p.dense.device(), setup_.device))
      fail(StatusCode::unsupported, "'" + p.name + "' is " + c10::toString(p.dense.scalar_type()) + " on " +
                                        p.dense.device().str() + ", but the run computes in " +
                                        c10::toString(setup_.dtype) + " on " + setup_.device.str() +
                                        "; convert it before prepare");
    weights_.push_back({&parameter, p.dense.const_data_ptr()});
    weight = static_cast<WeightId>(weights_.size() - 1);
    ++epoch_;
  });
}

const Parameter& BackendBf16::at_id(WeightId weight) const {
  if (weight < 0 || static_cast<std::size_t>(weight) >= weights_.size())
    fail(StatusCode::internal, "weight id " + std::to_string(weight) + " was never prepared");
  return *weights_[static_cast<std::size_t>(weight)].parameter;
}

Status BackendBf16::forward(std::span<const WeightId> weights, const at::Tensor& x, Pass,
                            std::vector<at::Tensor>& y) noexcept {
  return torch_guarded([&] {
    std::vector<at::Tensor> results;
    results.reserve(weights.size());
    for (const WeightId id : weights) {
      const Parameter& p = at_id(id);
      check_matrix("forward: x", x, p.shape[1], setup_, p);
    }
    if (few_rows_apply(weights, x)) {
      forward_few_rows(weights, x, results);
    } else {
      for (const WeightId id : weights) results.push_back(at::linear(x, at_id(id).dense));
    }
    y = std::move(results);
  });
}

bool BackendBf16::few_rows_apply(std::span<const WeightId> weights, const at::Tensor& x) const {
  if (!setup_.device.is_cpu() || setup_.dtype != at::kBFloat16 || weights.empty() || x.size(0) < 1 ||
      x.size(0) > kFewRows || !x.is_contiguous())
    return false;
  for (const WeightId id : weights)
    if (!at_id(id).dense.is_contiguous()) return false;
  return true;
}

void BackendBf16::forward_few_rows(std::span<const WeightId> weights, const at::Tensor& x,
                                   std::vector<at::Tensor>& y) {
  const std::int64_t m = x.size(0), k = x.size(1);
  prepared_.resize(static_cast<std::size_t>(nvfp4::dense_prepared_floats(m, k)));
  nvfp4::dense_prepare(static_cast<const nvfp4::Bf16*>(x.const_data_ptr()), m, k, k, prepared_.data());
  std::vector<const nvfp4::Bf16*> values;
  for (const WeightId id : weights) {
    const Parameter& p = at_id(id);
    values.push_back(static_cast<const nvfp4::Bf16*>(p.dense.const_data_ptr()));
    y.push_back(at::empty({m, p.shape[0]}, x.options()));
  }
  few_rows::run(y, m, k, [&](std::size_t w, std::int64_t first, std::int64_t count, float* out) {
    nvfp4::dense_product_prepared(prepared_.data(), m, {values[w] + first * k, 1.0F, count, k}, 0, count, out,
                                  count);
  });
}

Status BackendBf16::gather(WeightId weight, const at::Tensor& ids, at::Tensor& out) noexcept {
  return torch_guarded([&] {
    const Parameter& p = at_id(weight);
    out = at::index_select(p.dense, 0, ids);
  });
}

Status BackendBf16::grad_input(WeightId weight, const at::Tensor& dy, at::Tensor& dx) noexcept {
  return torch_guarded([&] {
    const Parameter& p = at_id(weight);
    check_matrix("grad_input: dy", dy, p.shape[0], setup_, p);
    dx = at::mm(dy, p.dense);
  });
}

Status BackendBf16::grad_weight(WeightId weight, const at::Tensor& dy, const at::Tensor& x,
                                at::Tensor& dw) noexcept {
  return torch_guarded([&] {
    const Parameter& p = at_id(weight);
    check_matrix("grad_weight: dy", dy, p.shape[0], setup_, p);
    check_matrix("grad_weight: x", x, p.shape[1], setup_, p);
    dw = at::mm(dy.t(), x);
  });
}

Status BackendBf16::dequantized(WeightId weight, at::Tensor& w) noexcept {
  return torch_guarded([&] { w = at_id(weight).dense; });
}

std::uint64_t BackendBf16::weight_epoch() const noexcept {
  for (const Weight& weight : weights_) {
    const at::Tensor& dense = weight.parameter->dense;
    const void* now = dense.defined() ? dense.const_data_ptr() : nullptr;
    if (now == weight.seen) continue;
    weight.seen = now;
    ++epoch_;
  }
  return epoch_;
}

}  // namespace tetrad::backend_bf16

#include "train/sink/gradient_sink.h"

#include "train/sink/gradient_codec.h"

#include <ATen/ops/count_nonzero.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>
#include <tetrad/base/error.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace tetrad::train {
namespace {

std::int64_t bytes_of(const at::Tensor& t) {
  return t.defined() ? static_cast<std::int64_t>(t.nbytes()) : 0;
}

std::int64_t bytes_of(const Gradient& g) {
  return bytes_of(g.dense) + bytes_of(g.planes.codes) + bytes_of(g.planes.scales);
}

}  // namespace

GradientSink::GradientSink(const std::deque<Parameter>& parameters,
                           std::unordered_map<const Parameter*, GradientFormat> formats, SinkOptions options)
    : options_(std::move(options)) {
  for (const Parameter& parameter : parameters) {
    places_.emplace(&parameter, slots_.size());
    Slot& slot = slots_.emplace_back();
    slot.parameter = &parameter;
    if (const auto found = formats.find(&parameter); found != formats.end()) slot.format = found->second;
  }
}

void GradientSink::begin_step(bool measure) {
  measure_ = measure;
  for (Slot& slot : slots_) {
    slot.arrived = 0;
    slot.waiting = slot.norm = slot.non_zero = at::Tensor();
    slot.stored = {};
    slot.norm_value = slot.non_zero_share = 0.0;
  }
  bytes_ = peak_bytes_ = 0;
}

GradientSink::Slot& GradientSink::slot_of(const Parameter& parameter) {
  return slots_.at(places_.at(&parameter));
}
const GradientSink::Slot& GradientSink::slot_of(const Parameter& parameter) const {
  return slots_.at(places_.at(&parameter));
}

std::int64_t GradientSink::expected(const Slot& slot) const {
  return slot.parameter->gradient_contributions * options_.micro_batches;
}

at::ScalarType GradientSink::waiting_dtype() const {
  return options_.micro_batches > 1 ? options_.accumulate : options_.dtype;
}

void GradientSink::account(std::int64_t change) {
  bytes_ += change;
  peak_bytes_ = std::max(peak_bytes_, bytes_);
}

void GradientSink::add(const Parameter& parameter, at::Tensor dw) {
  Slot& slot = slot_of(parameter);
  if (!slot.format) {
    ++slot.arrived;
    return;
  }
  if (slot.waiting.defined()) {
    slot.waiting.add_(dw);
    dw = slot.waiting;
  } else if (options_.micro_batches > 1) {
    dw = dw.to(waiting_dtype());
  }
  arrived(slot, std::move(dw));
}

void GradientSink::add_rows(const Parameter& parameter, const at::Tensor& ids, const at::Tensor& rows) {
  Slot& slot = slot_of(parameter);
  if (!slot.format) {
    ++slot.arrived;
    return;
  }
  at::Tensor sum = slot.waiting;
  if (!sum.defined()) sum = at::zeros(parameter.shape, rows.options().dtype(waiting_dtype()));
  sum.index_copy_(0, ids,
                  at::index_select(sum, 0, ids).to(rows.scalar_type()).add_(rows).to(sum.scalar_type()));
  arrived(slot, std::move(sum));
}

void GradientSink::arrived(Slot& slot, at::Tensor sum) {
  ++slot.arrived;
  if (slot.arrived > expected(slot))
    throw Error(fmt::format("[train] {} received {} gradient contributions, {} are expected",
                            slot.parameter->name, slot.arrived, expected(slot)));
  if (!slot.waiting.defined()) account(bytes_of(sum));
  if (slot.arrived < expected(slot)) {
    slot.waiting = std::move(sum);
    return;
  }
  slot.waiting = at::Tensor();
  complete(slot, sum);
  account(bytes_of(slot.stored) - bytes_of(sum));
}

void GradientSink::complete(Slot& slot, const at::Tensor& dw) {
  if (measure_) slot.non_zero = at::count_nonzero(dw);
  if (!options_.immediate && *slot.format == GradientFormat::nvfp4) {
    QuantisedGradient quantised = quantised_with_norm(dw.contiguous());
    slot.norm = std::move(quantised.norm);
    slot.stored = std::move(quantised.gradient);
    return;
  }
  slot.norm = at::linalg_vector_norm(dw, 2, {}, false, at::kFloat);
  if (options_.immediate) {
    options_.immediate(*slot.parameter, dw);
    return;
  }
  switch (*slot.format) {
    case GradientFormat::nvfp4:
      break;  // above
    case GradientFormat::bf16:
      slot.stored.dense = dw.to(at::kBFloat16).contiguous();
      break;
    case GradientFormat::fp32:
      slot.stored.dense = dw.to(at::kFloat).contiguous();
      break;
  }
}

GradientTotals GradientSink::totals() {
  std::vector<at::Tensor> norms, counts;
  for (const Slot& slot : slots_) {
    if (slot.arrived != expected(slot))
      throw Error(fmt::format("[train] {} received {} of {} gradient contributions: it would not train",
                              slot.parameter->name, slot.arrived, expected(slot)));
    if (slot.norm.defined()) norms.push_back(slot.norm);
    if (slot.non_zero.defined()) counts.push_back(slot.non_zero);
  }
  GradientTotals totals;
  if (norms.empty()) return totals;
  const at::Tensor values = at::stack(norms).to(at::kDouble).cpu();
  const at::Tensor non_zero = counts.empty() ? at::Tensor() : at::stack(counts).to(at::kDouble).cpu();
  std::int64_t i = 0;
  double squares = 0.0;
  for (Slot& slot : slots_) {
    if (!slot.norm.defined()) continue;
    slot.norm_value = values[i].item<double>();
    if (non_zero.defined())
      slot.non_zero_share = non_zero[i].item<double>() / static_cast<double>(slot.parameter->numel());
    if (!std::isfinite(slot.norm_value) && !totals.non_finite) totals.non_finite = slot.parameter->name;
    squares += slot.norm_value * slot.norm_value;
    ++i;
  }
  totals.norm = std::sqrt(squares);
  return totals;
}

GradientProof GradientSink::proof(const Parameter& parameter) const {
  const Slot& slot = slot_of(parameter);
  return {slot.norm_value, slot.non_zero_share};
}

Gradient GradientSink::take(const Parameter& parameter) {
  Slot& slot = slot_of(parameter);
  account(-bytes_of(slot.stored));
  return std::exchange(slot.stored, Gradient{});
}

}  // namespace tetrad::train

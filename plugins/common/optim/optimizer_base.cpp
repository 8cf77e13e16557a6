#include "optim/optimizer_base.h"

#include <ATen/ops/amax.h>
#include <ATen/ops/isfinite.h>
#include <c10/core/ScalarType.h>
#include <tetrad/nvfp4/codec.h>
#include <tetrad/torch/guarded.h>

#include <algorithm>
#include <cmath>

#include "optim/update_rms.h"
#include "optim/weight_values.h"

namespace tetrad::optim {
namespace {

std::string text_of(at::IntArrayRef sizes) {
  std::string text = "[";
  for (std::size_t i = 0; i < sizes.size(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(sizes[i]);
  return text + "]";
}

std::string text_of(const at::Tensor& t) {
  if (!t.defined()) return "nothing";
  return std::string(c10::toString(t.scalar_type())) + " " + text_of(t.sizes()) + " on " + t.device().str();
}

// "cuda" without an index means whichever device the tensors are on.
bool same_device(at::Device device, at::Device wanted) {
  return device.type() == wanted.type() && (!wanted.has_index() || device.index() == wanted.index());
}

bool is_dense_type(at::ScalarType type) {
  return type == at::kFloat || type == at::kBFloat16 || type == at::kHalf;
}

void check_planes(const std::string& what, const Planes& planes, int count, Extent extent,
                  at::Device device) {
  const std::int64_t padded = nvfp4::packed_cols(extent.cols);
  const auto fits = [&](const at::Tensor& t, std::int64_t cols) {
    return t.defined() && t.scalar_type() == at::kByte && t.dim() == 2 && t.size(0) == extent.rows &&
           t.size(1) == cols && t.is_contiguous() && same_device(t.device(), device);
  };
  const bool lo_fits = count < 2 ? !planes.lo_codes.defined() : fits(planes.lo_codes, padded / 2);
  const bool lo2_fits = count < 3 ? !planes.lo2_codes.defined() : fits(planes.lo2_codes, padded / 2);
  if (fits(planes.codes, padded / 2) && fits(planes.scales, padded / 16) && lo_fits && lo2_fits) return;
  fail(StatusCode::internal, what + ": expected " + std::to_string(count) + " planes of codes Byte [" +
                                 std::to_string(extent.rows) + ", " + std::to_string(padded / 2) +
                                 "] and scales Byte [" + std::to_string(extent.rows) + ", " +
                                 std::to_string(padded / 16) + "] on " + device.str() + ", got codes " +
                                 text_of(planes.codes) + ", scales " + text_of(planes.scales));
}

void check_parameter(const Parameter& p, at::Device device) {
  if (p.numel() == 0 || p.shape.empty())
    fail(StatusCode::unsupported, "'" + p.name + "' has no elements: its shape is " + text_of(p.shape));
  if (p.format == Format::opaque)
    fail(StatusCode::unsupported,
         "'" + p.name + "' is stored in a backend's own layout, which an optimizer cannot write");
  if (const int planes = plane_count(p.format); planes > 0) {
    check_planes("'" + p.name + "'", p.planes, planes, extent_of(p.shape), device);
    if (!(std::isfinite(p.planes.decode_scale) && p.planes.decode_scale > 0))
      fail(StatusCode::numerics,
           "'" + p.name + "' has the global scale " + std::to_string(p.planes.decode_scale));
    // E4M3's NaN is all ones below the sign.
    if ((p.planes.scales.bitwise_and(0x7F).amax().item<int>()) == 0x7F)
      fail(StatusCode::numerics,
           "'" + p.name + "' has a block scale that is not a number (0x7F): the checkpoint is damaged");
    return;
  }
  if (!p.dense.defined() || !is_dense_type(p.dense.scalar_type()) ||
      p.dense.sizes() != at::IntArrayRef(p.shape) || !p.dense.is_contiguous() ||
      !same_device(p.dense.device(), device))
    fail(StatusCode::internal, "'" + p.name + "': expected a contiguous float tensor " + text_of(p.shape) +
                                   " on " + device.str() + ", got " + text_of(p.dense));
  if (!std::isfinite(p.dense.abs().amax().to(at::kFloat).item<float>()))
    fail(StatusCode::numerics, "'" + p.name + "' has a value that is not finite; it cannot be trained");
}

void check_gradient(const Parameter& p, const Gradient& gradient, bool planes_allowed, at::Device device) {
  const std::string what = "gradient of '" + p.name + "'";
  const bool planes = gradient.planes.codes.defined();
  if (planes == gradient.dense.defined())
    fail(StatusCode::internal, what + ": exactly one of dense and planes must be given");
  if (planes) {
    if (!planes_allowed)
      fail(StatusCode::internal, what + " is NVFP4, but this parameter asked for a dense one");
    check_planes(what, gradient.planes, 1, extent_of(p.shape), device);
    const at::Tensor& scale = gradient.decode_scale;
    if (scale.defined() &&
        (scale.scalar_type() != at::kFloat || scale.numel() != 1 || !same_device(scale.device(), device)))
      fail(StatusCode::internal,
           what + ": its global scale must be Float [1] on " + device.str() + ", got " + text_of(scale));
    return;
  }
  const at::Tensor& g = gradient.dense;
  if ((g.scalar_type() != at::kFloat && g.scalar_type() != at::kBFloat16) ||
      g.sizes() != at::IntArrayRef(p.shape) || !g.is_contiguous() || !same_device(g.device(), device))
    fail(StatusCode::internal, what + ": expected a contiguous Float or BFloat16 tensor " + text_of(p.shape) +
                                   " on " + device.str() + ", got " + text_of(g));
}

void check_word(const char* what, const at::Tensor& t, at::ScalarType type, at::Device device) {
  if (!t.defined()) return;
  if (t.scalar_type() != type || t.numel() != 1 || !same_device(t.device(), device))
    fail(StatusCode::internal, std::string("step factor '") + what + "': expected " + c10::toString(type) +
                                   " [1] on " + device.str() + ", got " + text_of(t));
}

}  // namespace

std::int64_t element_count(std::span<const std::int64_t> shape) {
  std::int64_t n = 1;
  for (const std::int64_t d : shape) n *= d;
  return n;
}

std::int64_t nvfp4_bytes(std::span<const std::int64_t> shape, int planes) {
  const Extent extent = extent_of(shape);
  const std::int64_t padded = nvfp4::packed_cols(extent.cols);
  return extent.rows * (planes * padded / 2 + padded / 16);
}

ParamState& OptimizerBase::at(StateId state) const {
  if (state < 0 || static_cast<std::size_t>(state) >= states_.size())
    fail(StatusCode::internal,
         "there is no state " + std::to_string(state) + "; prepare() gave " + std::to_string(states_.size()));
  return *states_[static_cast<std::size_t>(state)];
}

Status OptimizerBase::configure(const OptimizerSetup& setup) noexcept {
  return torch_guarded([&] {
    if (configured_) fail(StatusCode::internal, "configure: called twice");
    const Capability answer = capability(setup);
    if (answer.support == Support::unsupported) fail(StatusCode::unsupported, answer.reason);
    setup_ = setup;
    if (offload_) pinned_ = std::make_unique<PinnedStates>(setup.device);
    configured_ = true;
  });
}

Status OptimizerBase::prepare(Parameter& parameter, double weight_decay, StateId& state) noexcept {
  return torch_guarded([&] {
    if (!configured_) fail(StatusCode::internal, "prepare: called before configure");
    if (!(weight_decay >= 0.0) || !std::isfinite(weight_decay))
      fail(StatusCode::invalid_option,
           "weight decay " + std::to_string(weight_decay) + " of '" + parameter.name + "' is not 0 or more");
    for (const auto& other : states_) {
      if (other->parameter().name == parameter.name)
        fail(StatusCode::internal, "'" + parameter.name + "' is prepared already");
    }
    check_parameter(parameter, setup_.device);
    states_.push_back(make_state(parameter, weight_decay));
    follower_.push_back(-1);
    if (placed(states_.back()->table()).state_on_host) pinned_->adopt(*states_.back());
    state = static_cast<StateId>(states_.size()) - 1;
  });
}

Status OptimizerBase::update(std::span<const UpdateItem> items, const StepFactors& factors) noexcept {
  return torch_guarded([&] {
    if (factors.step < 1 || factors.step > 0xFFFFFFFFLL)
      fail(StatusCode::internal, "step " + std::to_string(factors.step) + " is not a count from 1");
    if (!std::isfinite(factors.lr) || factors.lr < 0)
      fail(StatusCode::internal, "learning rate " + std::to_string(factors.lr) + " is not 0 or more");
    check_word("scale", factors.scale, at::kFloat, setup_.device);
    check_word("stop", factors.stop, at::kInt, setup_.device);
    const bool limits = factors.max_update_rms != 0.0;
    if (limits && !(std::isfinite(factors.max_update_rms) && factors.max_update_rms > 0.0))
      fail(StatusCode::internal,
           "max_update_rms " + std::to_string(factors.max_update_rms) + " is not 0 or more");
    std::vector<bool> seen(states_.size());
    for (const UpdateItem& item : items) {
      const ParamState& state = at(item.state);
      check_gradient(state.parameter(), item.gradient, state.table().gradient == GradientFormat::nvfp4,
                     setup_.device);
      check_word("update_rms", item.update_rms, at::kFloat, setup_.device);
      if (limits && !item.update_rms.defined())
        fail(StatusCode::internal,
             "'" + state.parameter().name + "' comes without a place for its update_rms");
      if (seen[static_cast<std::size_t>(item.state)])
        fail(StatusCode::internal, "'" + state.parameter().name + "' occurs twice in one update");
      seen[static_cast<std::size_t>(item.state)] = true;
    }
    StepContext context;
    context.step = factors.step;
    context.lr = factors.lr;
    context.scale = factors.scale.defined() ? factors.scale.const_data_ptr<float>() : nullptr;
    context.stop = factors.stop.defined() ? factors.stop.mutable_data_ptr<std::int32_t>() : nullptr;
    context.seed = setup_.seed;
    for (std::size_t i = 0; i < items.size(); ++i) {
      ParamState& state = at(items[i].state);
      if (!pinned_ || !pinned_->holds(state)) {
        update_one(items[i], factors, context);
        continue;
      }
      pinned_->bring(state, next_after(items, i));
      if (last_updated_ >= 0) follower_[static_cast<std::size_t>(last_updated_)] = items[i].state;
      last_updated_ = items[i].state;
      try {
        update_one(items[i], factors, context);
      } catch (...) {
        pinned_->send(state);
        throw;
      }
      pinned_->send(state);
    }
  });
}

void OptimizerBase::update_one(const UpdateItem& item, const StepFactors& factors, StepContext context) {
  ParamState& state = at(item.state);
  StoredWeight before;
  if (factors.measure) before = copy_of(state.parameter());
  at::Tensor limited;
  if (factors.max_update_rms > 0.0) {
    const at::Tensor rms = update_rms(state, item.gradient, factors.scale, factors.step);
    item.update_rms.copy_(rms);
    limited = limited_scale(factors.scale, rms, factors.max_update_rms);
    context.scale = limited.const_data_ptr<float>();
  }
  state.update(item.gradient, context, item.state + 1);
  ++state.parameter().version;
  if (!factors.measure) return;
  const WeightChange change = compare(before, view_of(state.parameter()), extent_of(state.parameter().shape));
  state.proof = {factors.step, change.changed,
                 static_cast<double>(state.moved_elements()) / static_cast<double>(state.parameter().numel()),
                 change.relative, factors.lr * state.weight_decay()};
}

ParamState* OptimizerBase::next_after(std::span<const UpdateItem> items, std::size_t i) const {
  const StateId next =
      i + 1 < items.size() ? items[i + 1].state : follower_[static_cast<std::size_t>(items[i].state)];
  return next < 0 ? nullptr : states_[static_cast<std::size_t>(next)].get();
}

StorageTable OptimizerBase::placed(StorageTable table) const {
  table.state_on_host = offload_ && table.state_bytes() >= kLeastOffloaded;
  return table;
}

Status OptimizerBase::describe(StateId state, StorageTable& table) const noexcept {
  return torch_guarded([&] { table = placed(at(state).table()); });
}

Status OptimizerBase::forecast(std::span<const std::int64_t> shape, Role role, Format format,
                               StorageTable& table) const noexcept {
  return torch_guarded([&] {
    if (shape.empty() || std::any_of(shape.begin(), shape.end(), [](std::int64_t d) { return d < 1; }))
      fail(StatusCode::unsupported, "a parameter of shape " +
                                        text_of(at::IntArrayRef(shape.data(), shape.size())) +
                                        " has no elements");
    table = placed(forecast_table(shape, role, format));
  });
}

Status OptimizerBase::state(StateId state, std::vector<NamedTensor>& tensors) noexcept {
  return torch_guarded([&] {
    if (pinned_) pinned_->settle();
    tensors = at(state).tensors();
  });
}

Status OptimizerBase::restore(StateId state, std::span<const NamedTensor> tensors) noexcept {
  return torch_guarded([&] {
    ParamState& target = at(state);
    if (pinned_) pinned_->settle();
    const std::vector<NamedTensor> own = target.tensors();
    const std::string whose = "state of '" + target.parameter().name + "'";
    if (tensors.size() != own.size())
      fail(StatusCode::internal, whose + ": " + std::to_string(tensors.size()) + " tensors, expected " +
                                     std::to_string(own.size()));
    std::vector<const at::Tensor*> from;
    for (const NamedTensor& each : own) {
      const auto found = std::find_if(tensors.begin(), tensors.end(),
                                      [&](const NamedTensor& t) { return t.name == each.name; });
      if (found == tensors.end()) fail(StatusCode::internal, whose + " has no '" + each.name + "'");
      if (!found->tensor.defined() || found->tensor.scalar_type() != each.tensor.scalar_type() ||
          found->tensor.sizes() != each.tensor.sizes())
        fail(StatusCode::internal, whose + ", '" + each.name + "': expected " + text_of(each.tensor) +
                                       ", got " + text_of(found->tensor));
      from.push_back(&found->tensor);
    }
    for (std::size_t i = 0; i < own.size(); ++i) own[i].tensor.copy_(*from[i]);
  });
}

Status OptimizerBase::proof(StateId state, UpdateProof& proof) noexcept {
  return torch_guarded([&] { proof = at(state).proof; });
}

OptimizerMemory OptimizerBase::memory() const noexcept {
  OptimizerMemory memory;
  for (const auto& state : states_) {
    const bool away = pinned_ && pinned_->holds(*state);
    memory.device_bytes += (away ? 0 : state->table().state_bytes()) + state->extra_bytes();
  }
  if (pinned_) {
    memory.pinned_bytes = pinned_->pinned_bytes();
    memory.workspace_bytes = pinned_->device_bytes();
  }
  return memory;
}

}  // namespace tetrad::optim

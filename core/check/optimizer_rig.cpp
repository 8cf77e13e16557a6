#include "check/optimizer_rig.h"

#include "check/linear_rig.h"
#include "device/choose.h"

#include <ATen/ATen.h>
#include <tetrad/nvfp4/plane_codec.h>

namespace tetrad::check {

OptimizerRig::OptimizerRig(const Target& from)
    : target(from),
      plugin(plugin::load_for_device(from.file, from.cuda())),
      handle(plugin::create<Optimizer>(plugin, "optimizer", from.options.at("optimizer"))) {
  setup.device = device::choose(from.device).device;  // loads what the device needs
}

void OptimizerRig::configure(std::uint64_t seed) {
  setup.seed = seed;
  const Capability answer = call("capability", [&](Optimizer& o) { return o.capability(setup); });
  if (answer.support == Support::unsupported) throw Skip(answer.reason);
  require_ok(call("configure", [&](Optimizer& o) { return o.configure(setup); }), "configure");
}

StateId OptimizerRig::add(const at::Tensor& dense, const std::string& name, double weight_decay) {
  parameters_.push_back(dense_parameter(dense.to(setup.device), name));
  if (dense.dim() == 1) parameters_.back().role = Role::norm;
  StateId id = -1;
  const Status status =
      call("prepare", [&](Optimizer& o) { return o.prepare(parameters_.back(), weight_decay, id); });
  if (status.code == StatusCode::unsupported) throw Skip(status.message);
  require_ok(status, "prepare");
  require(id == static_cast<StateId>(parameters_.size()) - 1, "prepare: state ids must count from 0");
  return id;
}

Status OptimizerRig::update(StateId id, const at::Tensor& gradient, std::int64_t step, double lr,
                            const at::Tensor& stop, bool measure) {
  UpdateItem item;
  item.state = id;
  item.gradient.dense = gradient.to(setup.device);
  StepFactors factors;
  factors.step = step;
  factors.lr = lr;
  factors.stop = stop;
  factors.measure = measure;
  return call("update", [&](Optimizer& o) { return o.update({&item, 1}, factors); });
}

void OptimizerRig::must_update(StateId id, const at::Tensor& gradient, std::int64_t step, double lr,
                               const at::Tensor& stop) {
  require_ok(update(id, gradient, step, lr, stop), "update");
}

at::Tensor OptimizerRig::values(StateId id) {
  const Parameter& p = parameter(id);
  if (p.dense.defined()) return p.dense.to(at::kCPU, at::kDouble).clone();
  require(p.planes.codes.defined() && p.planes.scales.defined(),
          "the parameter has neither dense storage nor planes");
  const std::int64_t rows = p.shape.size() == 1 ? 1 : p.shape[0], cols = p.numel() / rows;
  const auto host = [](const at::Tensor& t) { return t.defined() ? t.to(at::kCPU).contiguous() : t; };
  const at::Tensor codes = host(p.planes.codes), scales = host(p.planes.scales), lo = host(p.planes.lo_codes),
                   lo2 = host(p.planes.lo2_codes);
  const auto bytes = [](const at::Tensor& t) {
    return t.defined() ? t.const_data_ptr<std::uint8_t>() : nullptr;
  };
  at::Tensor out = at::empty({rows, cols}, at::kFloat);
  nvfp4::dequantize_planes({bytes(codes), bytes(scales), bytes(lo), bytes(lo2)}, p.planes.decode_scale,
                           nvfp4::PlaneValue::exact, rows, cols, out.mutable_data_ptr<float>());
  return out.reshape(p.shape).to(at::kDouble);
}

std::vector<at::Tensor> OptimizerRig::stored(StateId id) {
  const Parameter& p = parameter(id);
  std::vector<at::Tensor> bits;
  for (const at::Tensor& t :
       {p.dense, p.planes.codes, p.planes.scales, p.planes.lo_codes, p.planes.lo2_codes}) {
    if (t.defined()) bits.push_back(t.to(at::kCPU).clone());
  }
  for (const NamedTensor& t : state(id)) bits.push_back(t.tensor.to(at::kCPU));
  return bits;
}

std::vector<NamedTensor> OptimizerRig::state(StateId id) {
  std::vector<NamedTensor> tensors;
  require_ok(call("state", [&](Optimizer& o) { return o.state(id, tensors); }), "state");
  for (NamedTensor& each : tensors) {
    require(each.tensor.defined(), "state: '" + each.name + "' is an undefined tensor");
    each.tensor = each.tensor.clone();
  }
  return tensors;
}

}  // namespace tetrad::check

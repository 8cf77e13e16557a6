#include "check/linear_rig.h"

#include "check/compare.h"
#include "cli/engine/marked_plugin.h"
#include "device/choose.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <tetrad/nvfp4/reference.h>

#include <cstdint>
#include <vector>

namespace tetrad::check {

void require_ok(const Status& status, const std::string& what) {
  if (!status.ok()) throw Failure(fmt::format("{} failed: {}", what, status.message));
}

void require_refused(const Status& status, const std::string& what) {
  require(!status.ok(), what + ": it was taken; it must end in a failed Status");
  require(!status.message.empty(), what + ": the failed Status has no message");
}

const char* path_name(Path path) noexcept {
  return path == Path::training ? "training" : "bridge";
}

at::Tensor to_fp64(const at::Tensor& t) {
  return t.detach().to(at::kCPU).to(at::kDouble);
}

Parameter dense_parameter(const at::Tensor& dense, const std::string& name) {
  Parameter p;
  p.name = name;
  p.shape = dense.sizes().vec();
  p.format = dense.scalar_type() == at::kFloat  ? Format::fp32
             : dense.scalar_type() == at::kHalf ? Format::fp16
                                                : Format::bf16;
  p.dense = dense;
  return p;
}

at::Tensor awkward_weight(std::int64_t n, std::int64_t k, at::ScalarType dtype) {
  at::Tensor w = at::randn({n, k}) * 0.05 * at::exp(at::randn({n, 1}));
  if (n > 3) {
    w[1].zero_();
    w[2].mul_(1e-3);
    w[3][k / 2] = 2.5;
  }
  return w.to(dtype);
}

namespace {

// What a product may be off exact arithmetic on dequantized(), in units of sum |x * w|: the declared bound
// and, where the stored weight need not be exact in a 16-bit dtype, the rounding that dequantized() itself
// has had.
double product_bound(const Contract& contract, at::ScalarType dtype) {
  const WeightRule& rule = contract.weights;
  const bool exact = rule.reference == WeightRule::Reference::nvfp4
                         ? rule.encode.global == nvfp4::GlobalRule::power_of_two
                         : rule.bound == 0.0;
  return contract.bound(dtype).value_or(0.0) + (exact || dtype == at::kFloat ? 0.0 : rounding_unit(dtype));
}

}  // namespace

LinearRig::LinearRig(const Target& from, Path path, at::ScalarType dtype)
    : target(from),
      setup{path, dtype, device::choose(from.device).device, true},
      plugin(plugin::load_for_device(from.file, from.cuda())),
      handle(plugin::create<LinearBackend>(plugin, "linear", from.options.at("linear"))),
      marked(cli::mark_calls(*handle, plugin.id().c_str())),
      backend(*marked),
      bound(product_bound(from.contract, dtype)) {
  at::manual_seed(20240607);
}

void LinearRig::configure() {
  const Capability capability = backend.capability(setup);
  if (capability.support == Support::unsupported) throw Skip("not supported: " + capability.reason);
  require_ok(backend.configure(setup), "configure");
}

bool LinearRig::try_add(const at::Tensor& dense, WeightId& weight, const std::string& name) {
  parameters_.push_back(dense_parameter(
      to_device(dense), name.empty() ? fmt::format("check.{}.weight", parameters_.size()) : name));
  Parameter& p = parameters_.back();
  weight = -1;
  const Status status = backend.prepare(p, weight);
  if (status.code == StatusCode::unsupported && !status.message.empty()) return false;
  require_ok(status, "prepare of " + describe(dense));
  require(weight >= 0, fmt::format("prepare of {}: ok, but the weight id is {}", describe(dense), weight));
  for (const auto& [id, other] : by_id_)
    require(id != weight, fmt::format("prepare: weight id {} was given twice", weight));
  by_id_.emplace_back(weight, &p);
  return true;
}

WeightId LinearRig::add(const at::Tensor& dense, const std::string& name) {
  WeightId weight = -1;
  require(try_add(dense, weight, name),
          fmt::format("prepare of {}: unsupported; a matrix of whole blocks of 64 "
                      "columns must be taken",
                      describe(dense)));
  return weight;
}

Parameter& LinearRig::parameter(WeightId weight) {
  for (const auto& [id, parameter] : by_id_) {
    if (id == weight) return *parameter;
  }
  throw Failure(fmt::format("no weight {}", weight));
}

std::vector<at::Tensor> LinearRig::forward(const std::vector<WeightId>& weights, const at::Tensor& x,
                                           Pass pass) {
  std::vector<at::Tensor> y;
  require_ok(backend.forward(weights, x, pass, y), "forward of x " + describe(x));
  require(y.size() == weights.size(),
          fmt::format("forward of {} weights gave {} results", weights.size(), y.size()));
  for (const at::Tensor& each : y) {
    require(
        each.defined() && each.scalar_type() == setup.dtype && each.device().type() == setup.device.type(),
        fmt::format("forward gave {}, not the run's dtype and device", describe(each)));
    require(!each.requires_grad(), "forward: its result requires a gradient; autograd is the host's");
  }
  return y;
}

at::Tensor LinearRig::forward(WeightId weight, const at::Tensor& x, Pass pass) {
  return forward(std::vector<WeightId>{weight}, x, pass).front();
}

at::Tensor LinearRig::gather(WeightId weight, const at::Tensor& ids) {
  at::Tensor out;
  require_ok(backend.gather(weight, to_device(ids), out), "gather of ids " + describe(ids));
  return out;
}

at::Tensor LinearRig::grad_input(WeightId weight, const at::Tensor& dy) {
  at::Tensor dx;
  require_ok(backend.grad_input(weight, dy, dx), "grad_input of dy " + describe(dy));
  require(dx.defined() && dx.scalar_type() == setup.dtype,
          "grad_input gave " + describe(dx) + ", not the run's dtype");
  return dx;
}

at::Tensor LinearRig::grad_weight(WeightId weight, const at::Tensor& dy, const at::Tensor& x) {
  at::Tensor dw;
  require_ok(backend.grad_weight(weight, dy, x, dw), "grad_weight of dy " + describe(dy));
  require(dw.defined() && dw.is_floating_point(), "grad_weight gave " + describe(dw));
  return dw;
}

at::Tensor LinearRig::dequantized(WeightId weight) {
  at::Tensor w;
  require_ok(backend.dequantized(weight, w), "dequantized");
  require(
      w.defined() && w.scalar_type() == setup.dtype && w.sizes() == at::IntArrayRef(parameter(weight).shape),
      fmt::format("dequantized gave {}, not the weight's shape in the run's dtype", describe(w)));
  return w;
}

at::Tensor LinearRig::exact(WeightId weight) {
  return to_fp64(dequantized(weight));
}

at::Tensor LinearRig::read(const at::Tensor& x) const {
  if (!target.contract.rounds_activations) return to_fp64(x);
  const at::Tensor from = x.to(at::kCPU).to(at::kFloat).contiguous(), out = at::empty_like(from);
  const std::int64_t rows = x.size(0), cols = x.size(1), padded = nvfp4::packed_cols(cols);
  const auto* values = from.const_data_ptr<float>();
  const auto global = nvfp4::power_of_two_scale(nvfp4::reference::amax(values, rows, cols, cols).value);
  std::vector<std::uint8_t> codes(static_cast<std::size_t>(rows * padded / 2));
  std::vector<std::uint8_t> scales(static_cast<std::size_t>(rows * padded / nvfp4::kBlock));
  nvfp4::reference::quantize(values, rows, cols, cols, global, {}, codes.data(), scales.data());
  nvfp4::reference::dequantize(codes.data(), scales.data(), global.decode, rows, cols,
                               out.mutable_data_ptr<float>());
  return to_fp64(out);
}

at::Tensor LinearRig::input(std::int64_t rows, std::int64_t columns) const {
  const at::Tensor x = at::randn({rows, columns}).to(setup.dtype);
  return (target.contract.rounds_activations ? read(x).to(setup.dtype) : x).to(setup.device);
}

std::vector<Pass> LinearRig::passes() const {
  if (setup.path == Path::bridge) return {Pass::eval};
  return {Pass::train, Pass::eval};
}

}  // namespace tetrad::check

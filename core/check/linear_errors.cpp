// Calls that must end in a failed Status with every output as it was, and non-finite values, which may be
// refused or handed on, but never hidden.
#include "check/compare.h"
#include "check/linear_cases.h"
#include "check/linear_rig.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <functional>
#include <limits>

namespace tetrad::check {
namespace {

constexpr WeightId untouched_id = -7;

// An output that is full before the call, and afterwards the same tensor with the same values, or undefined.
class Output {
 public:
  explicit Output(at::ScalarType dtype) : tensor(at::full({2, 3}, 42.0).to(dtype)), before_(tensor) {}
  void require_kept(const std::string& what) const {
    if (!tensor.defined()) return;
    require(tensor.is_same(before_) && tensor.to(at::kDouble).eq(42.0).all().item<bool>(),
            what + ": the call failed, but changed its output");
  }
  at::Tensor tensor;

 private:
  at::Tensor before_;
};

struct BadCalls {
  LinearRig& rig;
  int count = 0;

  void forward(const std::string& what, const std::vector<WeightId>& ids, const at::Tensor& x) {
    ++count;
    const at::Tensor sentinel = at::full({2, 3}, 42.0);
    std::vector<at::Tensor> y = {sentinel};
    require_refused(rig.backend.forward(ids, x, Pass::eval, y), "forward with " + what);
    const bool kept =
        y.size() == 1 && (!y[0].defined() || y[0].is_same(sentinel)) && sentinel.eq(42.0).all().item<bool>();
    require(kept, "forward with " + what + ": the call failed, but changed y");
  }
  void one(const std::string& what, const std::function<Status(at::Tensor&)>& call) {
    ++count;
    Output out(rig.setup.dtype);
    require_refused(call(out.tensor), what);
    out.require_kept(what);
  }
};

}  // namespace

Result check_bad_prepare(const Target& target, LinearPoint at) {
  LinearRig rig(target, at.path, at.dtype);
  rig.configure();
  const at::Tensor dense = rig.to_device(awkward_weight(32, 64, at.dtype));
  int count = 0;
  const auto refused = [&](const std::string& what, Parameter p) {
    const at::Tensor before = p.dense.defined() ? p.dense.clone() : at::Tensor();
    const Format format = p.format;
    WeightId id = untouched_id;
    require_refused(rig.backend.prepare(p, id), "prepare of " + what);
    require(id == untouched_id, "prepare of " + what + " failed, but wrote the weight id");
    require(p.format == format && same_bits(p.dense, before),
            "prepare of " + what + " failed, but changed it");
    ++count;
  };
  refused("a vector", dense_parameter(dense.flatten().clone(), "check.vector"));
  Parameter empty = dense_parameter(dense, "check.no_values");
  empty.dense = at::Tensor();
  refused("a parameter without values", empty);
  Parameter shape = dense_parameter(dense, "check.wrong_shape");
  shape.shape = {64, 32};
  refused("a parameter whose values have another shape", shape);
  Parameter opaque = dense_parameter(dense, "check.opaque");
  opaque.format = Format::opaque;
  opaque.dense = at::Tensor();
  refused("an opaque parameter", opaque);
  Parameter planes = dense_parameter(dense, "check.planes");
  planes.format = Format::nvfp4_hi;
  planes.dense = at::Tensor();
  refused("NVFP4 planes that are missing", planes);

  // The refusals left it usable.
  const WeightId id = rig.add(awkward_weight(32, 64, at.dtype));
  const at::Tensor x = rig.input(2, 64);
  Worst worst;
  require_product(rig.forward(id, x, Pass::eval), to_fp64(x), rig.exact(id).t(), rig.bound,
                  "forward after refused parameters", worst);
  return {fmt::format("{} refused", count), {{"calls", count}}, {}};
}

Result check_bad_calls(const Target& target, LinearPoint at) {
  LinearRig rig(target, at.path, at.dtype);
  rig.configure();
  constexpr std::int64_t n = 32, k = 64;
  const WeightId id = rig.add(awkward_weight(n, k, at.dtype)),
                 other = rig.add(awkward_weight(8, 128, at.dtype));
  const WeightId unknown = id + other + 1000;
  const at::ScalarType wrong = at.dtype == at::kFloat ? at::kBFloat16 : at::kFloat;
  const at::Tensor x = rig.input(3, k), dy = rig.input(3, n);
  BadCalls bad{rig};

  bad.forward("an unknown weight", {unknown}, x);
  bad.forward("a negative weight", {-1}, x);
  bad.forward("a known and an unknown weight", {id, unknown}, x);
  bad.forward("x of too few columns", {id}, rig.input(3, k - 1));
  bad.forward("x of too many columns", {id}, rig.input(3, k + 16));
  bad.forward("weights of different width", {id, other}, x);
  bad.forward("x of another dtype", {id}, x.to(wrong));
  bad.forward("integer x", {id}, x.to(at::kLong));
  bad.forward("a vector as x", {id}, x[0]);
  bad.forward("an undefined x", {id}, at::Tensor());

  const auto gather = [&](const std::string& what, WeightId weight, const at::Tensor& ids) {
    bad.one("gather with " + what, [&](at::Tensor& out) { return rig.backend.gather(weight, ids, out); });
  };
  gather("an unknown weight", unknown, rig.to_device(at::zeros({2}, at::kLong)));
  if (!target.cuda()) {  // on a device an index that is out of range ends the process's use of it
    gather("an id past the last row", id, at::full({2}, n, at::kLong));
    gather("a negative id", id, at::full({2}, -1, at::kLong));
  }
  gather("ids that are no integers", id, rig.to_device(at::zeros({2})));
  gather("undefined ids", id, at::Tensor());

  if (at.path == Path::training) {
    const auto grad_input = [&](const std::string& what, WeightId weight, const at::Tensor& d) {
      bad.one("grad_input with " + what,
              [&](at::Tensor& dx) { return rig.backend.grad_input(weight, d, dx); });
    };
    grad_input("an unknown weight", unknown, dy);
    grad_input("dy of too few columns", id, rig.input(3, n - 1));
    grad_input("dy of another dtype", id, dy.to(wrong));
    grad_input("an undefined dy", id, at::Tensor());
    const auto grad_weight = [&](const std::string& what, WeightId weight, const at::Tensor& d,
                                 const at::Tensor& in) {
      bad.one("grad_weight with " + what,
              [&](at::Tensor& dw) { return rig.backend.grad_weight(weight, d, in, dw); });
    };
    grad_weight("an unknown weight", unknown, dy, x);
    grad_weight("dy of too many columns", id, rig.input(3, n + 1), x);
    grad_weight("x of too few columns", id, dy, rig.input(3, k - 1));
    grad_weight("x and dy of different height", id, dy, rig.input(4, k));
    grad_weight("x of another dtype", id, dy, x.to(wrong));
    grad_weight("an undefined x", id, dy, at::Tensor());
  }
  bad.one("dequantized of an unknown weight",
          [&](at::Tensor& w) { return rig.backend.dequantized(unknown, w); });

  Worst worst;
  require_product(rig.forward(id, x, Pass::eval), to_fp64(x), rig.exact(id).t(), rig.bound,
                  "forward after refused calls", worst);
  return {fmt::format("{} refused, outputs untouched", bad.count), {{"calls", bad.count}}, {}};
}

Result check_bad_weights(const Target& target, LinearPoint at) {
  constexpr std::int64_t n = 32, k = 64, row = 17;
  int refused = 0, handed_on = 0;
  const auto require_seen = [&](LinearRig& rig, const Status& status, const std::vector<at::Tensor>& y,
                                const std::string& what) {
    if (!status.ok()) {
      require(!status.message.empty(), what + ": refused without a message");
      ++refused;
      return;
    }
    require(y.size() == 1 && y[0].defined(), what + ": ok, but no result");
    require(!at::isfinite(y[0].select(1, row)).any().item<bool>(),
            what + ": the results that depend on it are finite: it was hidden");
    (void)rig;
    ++handed_on;
  };
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                          -std::numeric_limits<float>::infinity()}) {
    const at::Tensor dense = awkward_weight(n, k, at.dtype);
    dense[row][40] = bad;
    const std::string what = fmt::format("a weight with {} in it", bad);
    {
      LinearRig rig(target, at.path, at.dtype);
      rig.configure();
      Parameter p = dense_parameter(rig.to_device(dense.clone()), "model.layers.3.mlp.gate_proj.weight");
      WeightId id = untouched_id;
      const Status status = rig.backend.prepare(p, id);
      if (!status.ok()) {
        require(
            status.message.find(p.name) != std::string::npos,
            fmt::format("{}: refused, but the message does not name the tensor: {}", what, status.message));
        require(id == untouched_id && p.dense.defined(), what + ": refused, but the outputs were changed");
        ++refused;
      } else {
        std::vector<at::Tensor> y;
        const Status forward = rig.backend.forward(std::vector<WeightId>{id}, rig.input(3, k), Pass::eval, y);
        require_seen(rig, forward, y, what);
      }
    }
    if (at.path == Path::bridge) continue;
    // After an optimizer's write, with the old values in the eval cache.
    LinearRig rig(target, at.path, at.dtype);
    rig.configure();
    const WeightId id = rig.add(awkward_weight(n, k, at.dtype));
    rig.forward(id, rig.input(3, k), Pass::eval);
    Parameter& p = rig.parameter(id);
    p.dense[row][40] = bad;
    ++p.version;
    for (const Pass pass : {Pass::eval, Pass::train}) {
      std::vector<at::Tensor> y;
      const Status status = rig.backend.forward(std::vector<WeightId>{id}, rig.input(3, k), pass, y);
      require_seen(rig, status, y, what + ", written later");
    }
  }
  return {fmt::format("{} refused, {} handed on", refused, handed_on),
          {{"refused", refused}, {"handed_on", handed_on}},
          {}};
}

Result check_bad_inputs(const Target& target, LinearPoint at) {
  LinearRig rig(target, at.path, at.dtype);
  rig.configure();
  constexpr std::int64_t n = 40, k = 64, row = 1;
  // No zero in the weight: zero times infinity would be a question of its own.
  const WeightId id = rig.add((at::randn({n, k}) * 0.05 + 0.5).to(at.dtype));
  int refused = 0, handed_on = 0;
  for (const std::int64_t rows : {3, 40}) {
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      const at::Tensor x = rig.input(rows, k);
      const at::Tensor clean = to_fp64(x);
      x[row][21] = bad;
      std::vector<at::Tensor> y;
      const std::string what = fmt::format("forward of {} with {} in row {}", describe(x), bad, row);
      const Status status = rig.backend.forward(std::vector<WeightId>{id}, x, Pass::eval, y);
      if (!status.ok()) {
        require(!status.message.empty(), what + ": refused without a message");
        ++refused;
        continue;
      }
      require(y.size() == 1 && y[0].defined() && y[0].size(0) == rows, what + ": ok, but no result");
      require(!at::isfinite(y[0][row]).any().item<bool>(),
              what + ": that row's results are finite: it was hidden");
      Worst worst;
      for (const std::int64_t from : {std::int64_t{0}, row + 1}) {
        const std::int64_t count = from == 0 ? row : rows - row - 1;
        require_product(y[0].narrow(0, from, count), clean.narrow(0, from, count), rig.exact(id).t(),
                        rig.bound, what + ": another row", worst);
      }
      ++handed_on;
    }
  }
  return {fmt::format("{} refused, {} handed on", refused, handed_on),
          {{"refused", refused}, {"handed_on", handed_on}},
          {}};
}

}  // namespace tetrad::check

#include "check/optimizer_cases.h"

#include "check/compare.h"
#include "check/linear_rig.h"
#include "check/optimizer_rig.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace tetrad::check {
namespace {

constexpr double lr = 1e-3;

at::Tensor weight(std::vector<std::int64_t> shape, at::ScalarType dtype) {
  at::manual_seed(1);
  return at::randn(shape).mul_(0.05).to(dtype);
}

void require_same(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b,
                  const std::string& what) {
  require(a.size() == b.size(), what + ": another number of tensors is stored");
  for (std::size_t i = 0; i < a.size(); ++i)
    require(same_bits(a[i], b[i]), fmt::format("{}: stored tensor {} differs", what, i));
}

Result check_lifecycle(const Target& target, at::ScalarType dtype) {
  OptimizerRig rig(target);
  Parameter early = dense_parameter(weight({5, 20}, dtype).to(rig.setup.device), "early");
  StateId id = -1;
  require_refused(rig.call("prepare", [&](Optimizer& o) { return o.prepare(early, 0, id); }),
                  "prepare before configure");
  rig.configure();
  require_refused(rig.call("configure", [&](Optimizer& o) { return o.configure(rig.setup); }),
                  "a second configure");
  rig.add(weight({5, 20}, dtype), "w");
  Parameter again = dense_parameter(weight({5, 20}, dtype).to(rig.setup.device), "w");
  require_refused(rig.call("prepare", [&](Optimizer& o) { return o.prepare(again, 0, id); }),
                  "a second parameter of one name");
  const std::string format = rig.call("state_format", [](Optimizer& o) { return o.state_format(); });
  require(!format.empty(),
          "state_format() is empty: a checkpoint could not be told from another optimizer's");
  OptimizerRig other(target);
  require(other.call("state_format", [](Optimizer& o) { return o.state_format(); }) == format,
          "state_format() differs between two objects of the same options");
  return {format, {}, {}};
}

std::int64_t bytes_of(const at::Tensor& t) {
  return t.defined() ? static_cast<std::int64_t>(t.nbytes()) : 0;
}

Result check_tables(const Target& target, at::ScalarType dtype) {
  OptimizerRig rig(target);
  rig.configure();
  std::string seen;
  for (const std::vector<std::int64_t>& shape :
       std::vector<std::vector<std::int64_t>>{{96, 80}, {7, 33}, {50}}) {
    const Parameter before = dense_parameter(weight(shape, dtype), "before");
    const StateId id = rig.add(weight(shape, dtype), "w" + std::to_string(shape[0]));
    StorageTable table, forecast;
    require_ok(rig.call("describe", [&](Optimizer& o) { return o.describe(id, table); }), "describe");
    require_ok(rig.call("forecast",
                        [&](Optimizer& o) {
                          return o.forecast(shape, rig.parameter(id).role, before.format, forecast);
                        }),
               "forecast");
    const Parameter& p = rig.parameter(id);
    const std::int64_t stored = bytes_of(p.dense) + bytes_of(p.planes.codes) + bytes_of(p.planes.scales) +
                                bytes_of(p.planes.lo_codes) + bytes_of(p.planes.lo2_codes);
    require(table.w.bytes == stored,
            fmt::format("describe: w takes {} bytes, the table says {}", stored, table.w.bytes));
    std::int64_t state = 0;
    for (const NamedTensor& t : rig.state(id)) state += bytes_of(t.tensor);
    require(state >= table.state_bytes() && state <= table.state_bytes() + 4096,
            fmt::format("describe: the state takes {} bytes, the table says {}", state, table.state_bytes()));
    const auto same = [](const Storage& a, const Storage& b) {
      return a.bytes == b.bytes && a.format == b.format;
    };
    require(same(table.w, forecast.w) && same(table.grad, forecast.grad) && same(table.m, forecast.m) &&
                same(table.v, forecast.v) && same(table.master, forecast.master) &&
                table.gradient == forecast.gradient,
            "forecast() and describe() disagree for shape of " + std::to_string(p.numel()) + " elements");
    seen += (seen.empty() ? "" : "; ") + table.w.format + ", " + table.m.format;
  }
  return {seen, {}, {}};
}

// Against a constant gradient every optimizer goes downhill, by about lr a step; without a learning rate it
// stays where it is.
Result check_updates(const Target& target, at::ScalarType dtype) {
  OptimizerRig rig(target);
  rig.configure();
  const StateId id = rig.add(weight({64, 96}, dtype), "w", 0.0);
  const at::Tensor start = rig.values(id);
  at::manual_seed(2);
  for (int i = 1; i <= 5; ++i) rig.must_update(id, at::randn({64, 96}), i, 0.0);
  require(at::equal(rig.values(id), start), "five steps with a learning rate of 0 changed the weight");
  const std::uint64_t version = rig.parameter(id).version;
  const int steps = 20;
  for (int i = 6; i < 6 + steps; ++i) rig.must_update(id, at::ones({64, 96}), i, lr);
  require(rig.parameter(id).version > version, "update() did not raise the parameter's version");
  const double moved = rig.values(id).sub(start).mean().item<double>();
  require(moved < 0, fmt::format("against a gradient of 1 the weights moved by {:g}, uphill", moved));
  require(moved > -10 * lr * steps,
          fmt::format("{} steps at lr {} moved the weights by {:g}", steps, lr, moved));
  require(moved < -0.02 * lr * steps || dtype != at::kFloat,
          fmt::format("{} steps at lr {} moved the weights by {:g} only", steps, lr, moved));
  return {fmt::format("{} steps of {} moved by {:g}", steps, lr, moved), {}, {}};
}

Result check_stop(const Target& target, at::ScalarType dtype) {
  OptimizerRig rig(target);
  rig.configure();
  const StateId id = rig.add(weight({64, 80}, dtype), "w");
  rig.must_update(id, at::randn({64, 80}), 1, lr);
  const auto before = rig.stored(id);
  const at::Tensor stop = at::ones({1}, at::TensorOptions().dtype(at::kInt).device(rig.setup.device));
  rig.must_update(id, at::randn({64, 80}), 2, lr, stop);
  require_same(rig.stored(id), before, "an update with a set stop word");
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    stop.zero_();
    at::Tensor g = at::randn({64, 80});
    g[33][41] = bad;
    const at::Tensor old = rig.values(id);
    rig.must_update(id, g, 2, lr, stop);
    require(stop.item<int>() != 0, fmt::format("a gradient of {} did not set the stop word", bad));
    require(rig.values(id).isfinite().all().item<bool>(),
            fmt::format("a gradient of {} made weights that are not finite", bad));
    require(rig.values(id)[33][41].item<double>() == old[33][41].item<double>(),
            fmt::format("the element with a gradient of {} was changed", bad));
  }
  return {"nothing changes, nothing that is not finite is stored", {}, {}};
}

Result check_state(const Target& target, at::ScalarType dtype) {
  OptimizerRig rig(target);
  rig.configure();
  const StateId id = rig.add(weight({64, 80}, dtype), "w");
  at::manual_seed(4);
  std::vector<at::Tensor> gradients;
  for (int i = 0; i < 8; ++i) gradients.push_back(at::randn({64, 80}));
  for (int i = 0; i < 4; ++i) rig.must_update(id, gradients[static_cast<std::size_t>(i)], i + 1, lr);
  const std::vector<NamedTensor> saved = rig.state(id);
  Parameter copy = rig.parameter(id);
  for (at::Tensor* t : {&copy.dense, &copy.planes.codes, &copy.planes.scales, &copy.planes.lo_codes,
                        &copy.planes.lo2_codes}) {
    if (t->defined()) *t = t->clone();
  }
  for (int i = 4; i < 8; ++i) rig.must_update(id, gradients[static_cast<std::size_t>(i)], i + 1, lr);

  OptimizerRig resumed(target);
  resumed.configure();
  StateId other = resumed.add(weight({64, 80}, dtype), "w");
  Parameter& p = resumed.parameter(other);
  require(p.format == copy.format, "two objects of the same options store a parameter in two formats");
  p.dense = copy.dense;
  p.planes = copy.planes;
  std::vector<NamedTensor> broken = saved;
  broken.front().tensor = broken.front().tensor.flatten().narrow(0, 0, 1);
  const auto untouched = resumed.stored(other);
  require_refused(resumed.call("restore", [&](Optimizer& o) { return o.restore(other, broken); }),
                  "restore of a wrong shape");
  broken = saved;
  broken.pop_back();
  require_refused(resumed.call("restore", [&](Optimizer& o) { return o.restore(other, broken); }),
                  "restore with a tensor missing");
  require_same(resumed.stored(other), untouched, "a refused restore");
  require_ok(resumed.call("restore", [&](Optimizer& o) { return o.restore(other, saved); }), "restore");
  for (int i = 4; i < 8; ++i) resumed.must_update(other, gradients[static_cast<std::size_t>(i)], i + 1, lr);
  require_same(rig.stored(id), resumed.stored(other), "after saving and restoring, four steps further");
  return {fmt::format("{} tensors", saved.size()), {}, {}};
}

Result check_deterministic(const Target& target, at::ScalarType dtype) {
  if (!target.contract.deterministic.value_or(false)) throw Skip("numerics.deterministic is not claimed");
  std::vector<at::Tensor> first;
  Digest digest;
  for (int round = 0; round < 2; ++round) {
    OptimizerRig rig(target);
    rig.configure(77);
    const StateId id = rig.add(weight({65, 96}, dtype), "w");
    at::manual_seed(5);
    for (int i = 1; i <= 4; ++i) rig.must_update(id, at::randn({65, 96}), i, lr);
    if (round == 0)
      first = rig.stored(id);
    else
      require_same(rig.stored(id), first, "a second object with the same seed");
  }
  for (const at::Tensor& t : first) digest.add(t);
  return {"equal bits in two objects and two processes", {}, digest.text()};
}

Result check_bad_calls(const Target& target, at::ScalarType dtype) {
  OptimizerRig rig(target);
  rig.configure();
  const StateId id = rig.add(weight({64, 80}, dtype), "w");
  const auto before = rig.stored(id);
  require_refused(rig.update(id, at::ones({80, 64}), 1, lr), "a gradient of another shape");
  require_refused(rig.update(id, at::ones({64, 80}).to(at::kLong), 1, lr), "a gradient of integers");
  require_refused(rig.update(id, at::ones({64, 80}), 0, lr), "step 0");
  require_refused(rig.update(id, at::ones({64, 80}), 1, std::numeric_limits<double>::quiet_NaN()),
                  "a learning rate that is not a number");
  require_refused(rig.update(id + 1, at::ones({64, 80}), 1, lr), "a state that does not exist");
  require_refused(rig.update(id, at::ones({64, 80}), 1, lr, at::zeros({1})),
                  "a stop word that is no integer");
  require_same(rig.stored(id), before, "refused updates");
  at::Tensor bad = weight({64, 80}, dtype);
  bad[1][1] = std::numeric_limits<float>::quiet_NaN();
  Parameter parameter = dense_parameter(bad.to(rig.setup.device), "bad");
  StateId none = -1;
  require_refused(rig.call("prepare", [&](Optimizer& o) { return o.prepare(parameter, 0, none); }),
                  "a weight that is not finite");
  require_ok(rig.update(id, at::ones({64, 80}), 1, lr, {}, true), "update after refused ones");
  UpdateProof proof;
  require_ok(rig.call("proof", [&](Optimizer& o) { return o.proof(id, proof); }), "proof");
  require(proof.step == 1 && proof.state_moved > 0.5, "proof: the measured update is not in it");
  return {"7 refused, without effect", {}, {}};
}

// A limit on the update's root mean square: the figure is written, a gradient that is larger than those
// before it gives a larger one, and a limit that does not bind changes nothing.
Result check_update_rms(const Target& target, at::ScalarType dtype) {
  OptimizerRig rig(target), free(target);
  rig.configure();
  free.configure();
  const StateId id = rig.add(weight({64, 96}, dtype), "w"), same = free.add(weight({64, 96}, dtype), "w");
  const auto measured = [&](const at::Tensor& gradient, std::int64_t step, double most) {
    UpdateItem item;
    item.state = id;
    item.gradient.dense = gradient.to(rig.setup.device);
    item.update_rms = at::full({1}, std::numeric_limits<float>::quiet_NaN(),
                               at::TensorOptions().dtype(at::kFloat).device(rig.setup.device));
    StepFactors factors;
    factors.step = step;
    factors.lr = lr;
    factors.max_update_rms = most;
    require_ok(rig.call("update",
                        [&](Optimizer& o) {
                          return o.update({&item, 1}, factors);
                        }),
               "update with max_update_rms");
    return item.update_rms.item<double>();
  };
  at::manual_seed(3);
  double rms = 0.0;
  for (int step = 1; step <= 3; ++step) {
    const at::Tensor gradient = at::randn({64, 96});
    rms = measured(gradient, step, 1e9);
    if (std::isnan(rms))
      throw Skip(
          "update_rms is not written: this optimizer does not know that clipping, and train.clip "
          "update_rms is refused with it");
    require(std::isfinite(rms) && rms > 0, fmt::format("update_rms is {:g}", rms));
    free.must_update(same, gradient, step, lr);
  }
  require_same(rig.stored(id), free.stored(same), "a limit of 1e9");
  const double spike = measured(at::randn({64, 96}).mul_(100), 4, 0.5);
  require(spike > 1.5 * rms,
          fmt::format("update_rms is {:g}, and {:g} for a gradient a hundred times as large", rms, spike));
  return {fmt::format("{:.3g}, then {:.3g} for a gradient a hundred times as large", rms, spike), {}, {}};
}

}  // namespace

std::vector<Case> optimizer_cases(const Target& target) {
  using Check = Result (*)(const Target&, at::ScalarType);
  const std::pair<const char*, Check> checks[] = {
      {"lifecycle", check_lifecycle}, {"tables", check_tables},        {"updates", check_updates},
      {"stop", check_stop},           {"state", check_state},          {"deterministic", check_deterministic},
      {"bad-calls", check_bad_calls}, {"update-rms", check_update_rms}};
  std::vector<Case> cases;
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    for (const auto& [name, check] : checks) {
      Case one;
      one.name = fmt::format("optimizer/{}/{}", name, dtype_name(dtype));
      one.run = [&target, dtype, check = check] { return check(target, dtype); };
      one.twice = std::string(name) == "deterministic";
      cases.push_back(std::move(one));
    }
  }
  return cases;
}

}  // namespace tetrad::check

// What a linear backend remembers: its life cycle, the eval cache with its bytes, versions of a parameter,
// and whether the same call gives the same bits.
#include "check/compare.h"
#include "check/linear_cases.h"
#include "check/linear_rig.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <memory>

namespace tetrad::check {

Result check_lifecycle(const Target& target, LinearPoint at) {
  LinearRig rig(target, at.path, at.dtype);
  const at::Tensor dense = awkward_weight(32, 64, at.dtype);
  Parameter early = dense_parameter(rig.to_device(dense.clone()), "check.early.weight");
  WeightId id = -7;
  require_refused(rig.backend.prepare(early, id), "prepare before configure");
  require(id == -7 && early.dense.defined(),
          "prepare before configure failed, but changed what it was given");
  std::vector<at::Tensor> y;
  require_refused(rig.backend.forward(std::vector<WeightId>{0}, rig.input(1, 64), Pass::eval, y),
                  "forward before configure");
  (void)rig.backend.memory();
  (void)rig.backend.weight_epoch();
  require(rig.backend.clear_eval_cache() == 0, "clear_eval_cache of a new object gave bytes back");

  rig.configure();
  require_refused(rig.backend.configure(rig.setup), "a second configure");
  const WeightId weight = rig.add(dense.clone());
  const at::Tensor x = rig.input(3, 64);
  Worst worst;
  const auto still_right = [&](const char* when) {
    require_product(rig.forward(weight, x, Pass::eval), to_fp64(x), rig.exact(weight).t(), rig.bound,
                    std::string("forward ") + when, worst);
  };
  still_right("after a refused second configure");

  // The same parameter again: either refused, or another weight that works.
  WeightId again = -1;
  const Status twice = rig.backend.prepare(rig.parameter(weight), again);
  if (twice.ok()) {
    at::Tensor w;
    require_ok(rig.backend.dequantized(again, w), "dequantized of a parameter prepared twice");
    require_equal(w, rig.dequantized(weight), "a parameter prepared twice: its two weights");
  } else {
    require(!twice.message.empty(), "the second prepare of one parameter failed without a message");
  }
  still_right("after a second prepare of one parameter");

  const std::uint64_t epoch = rig.backend.weight_epoch();
  still_right("twice");
  still_right("three times");
  require(rig.backend.weight_epoch() == rig.backend.weight_epoch(), "weight_epoch changes by being asked");
  require(at.path == Path::bridge || rig.backend.weight_epoch() == epoch,
          "weight_epoch changed although nothing but forward ran, on x of the same size");

  // A second object lives beside the first, and the first does not mind its end.
  {
    LinearRig other(target, at.path, at.dtype);
    other.configure();
    const WeightId theirs = other.add((dense * -2).to(at.dtype));
    require_product(other.forward(theirs, x, Pass::eval), to_fp64(x), other.exact(theirs).t(), rig.bound,
                    "forward of a second object", worst);
    still_right("while a second object lives");
  }
  still_right("after a second object was destroyed");
  return {fmt::format("prepared twice: {}", twice.ok() ? "taken" : "refused"), {}, {}};
}

Result check_eval_cache(const Target& target, LinearPoint at) {
  LinearRig rig(target, at.path, at.dtype);
  rig.configure();
  const auto bytes = [&] {
    const LinearMemory memory = rig.backend.memory();
    require(memory.weight_bytes >= 0 && memory.eval_cache_bytes >= 0 && memory.workspace_bytes >= 0,
            "memory() is negative");
    return memory.eval_cache_bytes;
  };
  const WeightId a = rig.add(awkward_weight(48, 128, at.dtype)),
                 b = rig.add(awkward_weight(20, 128, at.dtype));
  const at::Tensor x = rig.input(6, 128);
  require(bytes() == 0, "the eval cache holds bytes before any eval pass");
  rig.forward({a, b}, x, Pass::train);
  require(bytes() == 0, "a train pass filled the eval cache");
  const std::vector<at::Tensor> first = rig.forward({a, b}, x, Pass::eval);
  const std::int64_t held = bytes();
  const std::vector<at::Tensor> second = rig.forward({a, b}, x, Pass::eval);
  require(bytes() == held, "the second eval pass on the same weights grew the eval cache");
  const std::uint64_t epoch = rig.backend.weight_epoch();
  const std::int64_t freed = rig.backend.clear_eval_cache();
  require(freed == held,
          fmt::format("memory() says {} bytes of eval cache, clear_eval_cache freed {}", held, freed));
  require(bytes() == 0, fmt::format("{} bytes are left in the eval cache after clear_eval_cache", bytes()));
  require(rig.backend.clear_eval_cache() == 0, "a second clear_eval_cache freed bytes again");
  const std::vector<at::Tensor> third = rig.forward({a, b}, x, Pass::eval);
  require(held == 0 || rig.backend.weight_epoch() != epoch,
          "weight_epoch did not change although the eval cache was cleared");
  require(bytes() == held, "the eval cache has another size when it is filled again");
  Worst worst;
  for (const auto* y : {&first, &second, &third}) {
    require_product((*y)[0], to_fp64(x), rig.exact(a).t(), rig.bound, "forward with the eval cache", worst);
    require_product((*y)[1], to_fp64(x), rig.exact(b).t(), rig.bound, "forward with the eval cache", worst);
  }
  if (target.contract.deterministic.value_or(false)) {
    for (std::size_t i = 0; i < first.size(); ++i) {
      require_equal(second[i], first[i], "a second eval pass");
      require_equal(third[i], first[i], "an eval pass after clear_eval_cache");
    }
  }
  return {held == 0 ? std::string("it keeps none") : fmt::format("{} bytes, freed and filled again", held),
          {{"bytes", held}},
          {}};
}

Result check_stale(const Target& target, LinearPoint at) {
  LinearRig rig(target, at.path, at.dtype);
  rig.configure();
  const at::Tensor dense = awkward_weight(32, 64, at.dtype);
  const WeightId id = rig.add(dense.clone());
  const at::Tensor x = rig.input(4, 64), dy = rig.input(4, 32), rows = at::arange(32);
  rig.forward(id, x, Pass::eval);  // fills the eval cache
  Parameter& p = rig.parameter(id);
  Worst worst;
  // A second object that never saw the old values says what the new ones give.
  const auto require_new = [&](const char* what) {
    LinearRig fresh(target, at.path, at.dtype);
    fresh.configure();
    const WeightId other = fresh.add(p.dense.detach().to(at::kCPU).clone());
    const at::Tensor w = fresh.dequantized(other);
    const at::Tensor exact = to_fp64(w);
    require_equal(rig.gather(id, rows), w, fmt::format("gather after {}", what));
    for (const Pass pass : {Pass::eval, Pass::train, Pass::eval}) {
      require_product(rig.forward(id, x, pass), to_fp64(x), exact.t(), rig.bound,
                      fmt::format("forward ({} pass) after {}: it does not use the new values",
                                  pass == Pass::eval ? "eval" : "train", what),
                      worst);
    }
    require_equal(rig.dequantized(id), w, fmt::format("dequantized after {}", what));
    require_product(rig.grad_input(id, dy), to_fp64(dy), exact, rig.bound, fmt::format("dX after {}", what),
                    worst);
    require_equal(rig.gather(id, rows), w, fmt::format("gather after {}", what));
  };
  p.dense.mul_(-5.0);
  ++p.version;
  require_new("values were changed in place and the version bumped");
  p.dense = rig.to_device(awkward_weight(32, 64, at.dtype));
  ++p.version;
  require_new("the parameter got new storage and the version was bumped");
  return {"two changes seen", {}, {}};
}

Result check_deterministic(const Target& target, LinearPoint at) {
  if (!target.contract.deterministic.value_or(false)) throw Skip("numerics.deterministic is false");
  Digest digest;
  std::vector<at::Tensor> reference;
  constexpr int repeats = 12;
  for (int object = 0; object < 2; ++object) {
    LinearRig rig(target, at.path, at.dtype);
    rig.configure();
    const WeightId id = rig.add(awkward_weight(96, 256, at.dtype));
    const at::Tensor few = rig.input(3, 256), many = rig.input(150, 256), dy = rig.input(150, 96);
    for (int repeat = 0; repeat < repeats; ++repeat) {
      std::vector<at::Tensor> results = {rig.dequantized(id), rig.gather(id, at::arange(96))};
      for (const Pass pass : rig.passes()) {
        results.push_back(rig.forward(id, few, pass));
        results.push_back(rig.forward(id, many, pass));
      }
      if (at.path == Path::training) {
        results.push_back(rig.grad_input(id, dy));
        results.push_back(rig.grad_weight(id, dy, many));
      }
      if (reference.empty()) {
        for (const at::Tensor& each : results) {
          reference.push_back(each.clone());
          digest.add(each);
        }
      }
      const std::string what =
          fmt::format("numerics.deterministic is claimed, but call {} of object {} gave other bits",
                      repeat + 1, object + 1);
      for (std::size_t i = 0; i < results.size(); ++i) require_equal(results[i], reference[i], what);
      if (repeat == repeats / 2) rig.backend.clear_eval_cache();
    }
  }
  return {fmt::format("{} calls on two objects, in two processes", 2 * repeats), {}, digest.text()};
}

}  // namespace tetrad::check

#include "check/kv_rig.h"

#include "check/compare.h"
#include "check/linear_rig.h"
#include "device/choose.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

namespace tetrad::check {

NaiveKv::NaiveKv(const KvShape& shape, bool retains) : retains_(retains) {
  const at::Tensor none = at::empty({0, shape.kv_heads, shape.head_dim},
                                    at::TensorOptions().dtype(shape.dtype).device(shape.device));
  k.assign(static_cast<std::size_t>(shape.layers), none);
  v = k;
}

void NaiveKv::commit(const KvStep& step, std::int64_t n) {
  if (!retains_) return;
  for (std::size_t i = 0; i < k.size(); ++i) {
    k[i] = at::cat({k[i], step.k[i].narrow(0, 0, n)});
    v[i] = at::cat({v[i], step.v[i].narrow(0, 0, n)});
  }
  next_position += n;
}

void NaiveKv::truncate(std::int64_t length) {
  for (std::size_t i = 0; i < k.size(); ++i) {
    k[i] = k[i].narrow(0, 0, length).clone();
    v[i] = v[i].narrow(0, 0, length).clone();
  }
  next_position = length;
}

void NaiveKv::evict(std::int64_t begin, std::int64_t end) {
  const auto without = [&](const at::Tensor& t) {
    return at::cat({t.narrow(0, 0, begin), t.narrow(0, end, t.size(0) - end)});
  };
  for (std::size_t i = 0; i < k.size(); ++i) {
    k[i] = without(k[i]);
    v[i] = without(v[i]);
  }
}

void NaiveKv::reset() {
  truncate(0);
}

KvShape kv_shape(const Target& target, at::ScalarType dtype, std::int64_t head_dim) {
  KvShape shape;
  shape.layers = 3;
  shape.kv_heads = 2;
  shape.head_dim = head_dim;
  shape.dtype = dtype;
  shape.device = device::choose(target.device).device;
  shape.max_tokens = 600;
  return shape;
}

KvRig::KvRig(const Target& from, const KvShape& of)
    : target(from),
      shape(of),
      plugin(plugin::load_for_device(from.file, from.cuda())),
      model(of, true),
      handle_(plugin::create<KvPolicy>(plugin, "kv_cache", from.options.at("kv_cache"))) {
  at::manual_seed(20240608);
  model = NaiveKv(shape, has(kv_retains));
}

KvRig::KvRig(KvRig& from, KvPolicy* copy)
    : target(from.target),
      shape(from.shape),
      plugin(from.plugin),
      model(from.model),
      handle_(plugin::adopt<KvPolicy>(from.plugin, "kv_cache", copy)) {}

void KvRig::configure() {
  require_ok(call("configure", [&](KvPolicy& kv) { return kv.configure(shape); }), "configure");
}

void KvRig::prepare(std::int64_t n) {
  KvReserve answer = KvReserve::full;
  require_ok(call("prepare", [&](KvPolicy& kv) { return kv.prepare(n, answer); }),
             fmt::format("prepare({})", n));
  require(answer == KvReserve::ok, fmt::format("prepare({}) with {} of {} tokens held did not answer ok", n,
                                               model.resident(), shape.max_tokens));
}

void KvRig::write(const KvStep& step) {
  for (std::size_t i = 0; i < step.k.size(); ++i) {
    const auto layer = static_cast<std::int64_t>(i);
    require_ok(call("write", [&](KvPolicy& kv) { return kv.write(layer, step.k[i], step.v[i]); }),
               fmt::format("write of layer {}", i));
  }
}

void KvRig::commit(std::int64_t n) {
  require_ok(call("commit", [&](KvPolicy& kv) { return kv.commit(n); }), fmt::format("commit({})", n));
}

void KvRig::abort() {
  require_ok(call("abort", [](KvPolicy& kv) { return kv.abort(); }), "abort");
}

void KvRig::reset() {
  require_ok(call("reset", [](KvPolicy& kv) { return kv.reset(); }), "reset");
  model.reset();
}

KvStep KvRig::random_step(std::int64_t n) const {
  KvStep step;
  for (std::int64_t i = 0; i < shape.layers; ++i) {
    for (auto* each : {&step.k, &step.v})
      each->push_back(at::randn({n, shape.kv_heads, shape.head_dim}).to(shape.dtype).to(shape.device));
  }
  return step;
}

void KvRig::append(std::int64_t n) {
  prepare(n);
  const KvStep step = random_step(n);
  write(step);
  accept(step, n);
}

void KvRig::accept(const KvStep& step, std::int64_t n) {
  commit(n);
  model.commit(step, n);
}

void KvRig::require_values(const at::Tensor& got, const at::Tensor& expected, const std::string& what) {
  if (has(kv_lossless)) {
    require_equal(got, expected, what + " (lossless is claimed)");
    return;
  }
  require(got.defined() && got.sizes() == expected.sizes() && got.scalar_type() == expected.scalar_type(),
          what + ": expected " + describe(expected) + ", got " + describe(got));
  const auto bound = target.contract.bound(shape.dtype);
  require(bound.has_value(),
          fmt::format("{}: it is not lossless, and plugin.json has no numerics.bounds for {}", what,
                      dtype_name(shape.dtype)));
  const at::Tensor ours = to_fp64(got), theirs = to_fp64(expected);
  const at::Tensor allowed = theirs.abs().amax(-1, true) * *bound + 1e-300;
  const double worst = at::nan_to_num((ours - theirs).abs() / allowed, INFINITY).max().item<double>();
  require(worst <= 1.0, fmt::format("{}: off by {:.3g} times what numerics.bounds allows", what, worst));
}

void KvRig::require_lengths(const std::string& when) {
  const KvLengths now = lengths();
  require(now.resident == model.resident() && now.next_position == model.next_position,
          fmt::format("{}: lengths are resident {}, next_position {}; must be {} and {}", when, now.resident,
                      now.next_position, model.resident(), model.next_position));
}

void KvRig::require_same(const std::string& when, const KvStep* step) {
  require_lengths(when);
  for (std::size_t i = 0; i < model.k.size(); ++i) {
    const at::Tensor keys = step == nullptr ? model.k[i] : at::cat({model.k[i], step->k[i]});
    const at::Tensor values = step == nullptr ? model.v[i] : at::cat({model.v[i], step->v[i]});
    if (keys.size(0) == 0) continue;
    at::Tensor k, v;
    const auto layer = static_cast<std::int64_t>(i);
    require_ok(call("view", [&](KvPolicy& kv) { return kv.view(layer, k, v); }),
               fmt::format("{}: view of layer {}", when, i));
    require_values(k, keys.transpose(0, 1), fmt::format("{}: keys of layer {}", when, i));
    require_values(v, values.transpose(0, 1), fmt::format("{}: values of layer {}", when, i));
  }
}

}  // namespace tetrad::check

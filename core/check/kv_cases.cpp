#include "check/kv_cases.h"

#include "check/compare.h"
#include "check/kv_rig.h"
#include "check/linear_rig.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace tetrad::check {
namespace {

constexpr std::pair<const char*, KvBits> bit_names[] = {
    {"retains", kv_retains},      {"lossless", kv_lossless},
    {"truncate", kv_truncate},    {"fork", kv_fork},
    {"evict", kv_evict},          {"export", kv_export},
    {"shrink", kv_shrink},        {"native_attend", kv_native_attend},
    {"graph_safe", kv_graph_safe}};

Result check_contract(const Target& target) {
  const Claims& claims = target.contract.claims;
  require(!claims.dtypes.empty(),
          fmt::format("plugin.json: capabilities for {} name no dtypes", target.cuda() ? "cuda" : "cpu"));
  KvRig rig(target, kv_shape(target, at::kFloat));
  for (const std::string& name : claims.kv_bits) {
    require(std::any_of(std::begin(bit_names), std::end(bit_names),
                        [&](const auto& b) { return name == b.first; }),
            fmt::format("plugin.json: capabilities.kv_bits: there is no bit '{}'", name));
  }
  std::string held;
  std::uint32_t known = 0;
  for (const auto& [name, bit] : bit_names) {
    const bool claimed =
        std::find(claims.kv_bits.begin(), claims.kv_bits.end(), name) != claims.kv_bits.end();
    require(claimed == rig.has(bit), fmt::format("kv bit '{}': plugin.json says {}, capabilities() says {}",
                                                 name, claimed ? "yes" : "no", rig.has(bit) ? "yes" : "no"));
    known |= bit;
    if (claimed) held += (held.empty() ? "" : ", ") + std::string(name);
  }
  require((rig.bits() & ~known) == 0,
          fmt::format("capabilities() has bits this host does not know: {:#x}", rig.bits() & ~known));
  require(rig.has(kv_retains) || (rig.bits() & (kv_truncate | kv_fork | kv_evict | kv_export)) == 0,
          "a policy that does not retain tokens cannot truncate, fork, evict or export them");
  return {held.empty() ? std::string("it keeps nothing") : held, {}, {}};
}

Result check_lifecycle(const Target& target, at::ScalarType dtype) {
  KvRig rig(target, kv_shape(target, dtype));
  KvReserve answer = KvReserve::would_evict;
  require_refused(rig.call("prepare", [&](KvPolicy& kv) { return kv.prepare(1, answer); }),
                  "prepare before configure");
  require(answer == KvReserve::would_evict, "prepare before configure failed, but wrote its answer");
  require(rig.lengths().resident == 0 && rig.lengths().next_position == 0, "a new object has tokens");
  KvShape nonsense = rig.shape;
  nonsense.layers = 0;
  require_refused(rig.call("configure", [&](KvPolicy& kv) { return kv.configure(nonsense); }),
                  "configure of 0 layers");
  rig.configure();
  require_refused(rig.call("configure", [&](KvPolicy& kv) { return kv.configure(rig.shape); }),
                  "a second configure");
  rig.append(4);
  rig.require_same("after configure");
  // An odd head size may be refused, but not computed wrongly.
  KvRig odd(target, kv_shape(target, dtype, 5));
  const Status status = odd.call("configure", [&](KvPolicy& kv) { return kv.configure(odd.shape); });
  if (status.ok()) {
    odd.append(7);
    odd.append(1);
    odd.require_same("with head_dim 5");
  } else {
    require(!status.message.empty(), "configure with head_dim 5 failed without a message");
  }
  // Two objects do not share anything.
  KvRig other(target, kv_shape(target, dtype));
  other.configure();
  other.append(9);
  rig.append(3);
  rig.require_same("beside a second object");
  other.require_same("beside a first object");
  return {status.ok() ? "head_dim 5 taken" : "head_dim 5 refused", {}, {}};
}

Result check_steps(const Target& target, at::ScalarType dtype) {
  KvRig rig(target, kv_shape(target, dtype));
  rig.configure();
  for (const std::int64_t n : {7, 1, 1, 30}) {
    rig.prepare(n);
    rig.require_lengths("after prepare");
    const KvStep first = rig.random_step(n), step = rig.random_step(n);
    rig.write(first);
    rig.require_same("after write", &first);
    rig.write(step);
    rig.require_same("after a second write of the step: it must overwrite the first", &step);
    rig.write(step);
    rig.require_same("after a third write of the step: write must be idempotent", &step);
    rig.accept(step, n);
    if (rig.has(kv_retains)) rig.require_same("after commit");
  }
  if (!rig.has(kv_retains)) {
    require(rig.lengths().resident == 0 && rig.lengths().next_position == 0,
            "the policy does not retain tokens, but has lengths after commit");
    return {"steps of 7, 1, 1, 30 tokens, none retained", {}, {}};
  }
  // The first part of a step, and none of it.
  for (const std::int64_t accepted : {3, 0}) {
    rig.prepare(5);
    const KvStep step = rig.random_step(5);
    rig.write(step);
    rig.accept(step, accepted);
    rig.require_same(fmt::format("after commit({}) of 5 prepared tokens", accepted));
  }
  rig.prepare(6);
  rig.write(rig.random_step(6));
  rig.abort();
  rig.require_same("after abort");
  rig.append(2);
  rig.require_same("after a step that follows an abort");
  return {fmt::format("{} tokens held", rig.model.resident()), {}, {}};
}

Result check_full(const Target& target, at::ScalarType dtype) {
  KvRig rig(target, kv_shape(target, dtype));
  rig.configure();
  const std::int64_t room = rig.shape.max_tokens;
  const auto refused = [&](std::int64_t n) {
    KvReserve answer = KvReserve::ok;
    require_ok(rig.call("prepare", [&](KvPolicy& kv) { return kv.prepare(n, answer); }),
               "prepare past max_tokens");
    require(answer == KvReserve::full || (answer == KvReserve::would_evict && rig.has(kv_evict)),
            fmt::format("prepare({}) with {} of {} tokens held: must answer full", n, rig.model.resident(),
                        room));
    rig.require_same("after prepare past max_tokens: it must have no effect");
  };
  refused(room + 1);
  rig.append(room - 1);
  rig.require_same("with one token left");
  if (!rig.has(kv_retains)) return {"a step of more than max_tokens is refused", {}, {}};
  refused(2);
  rig.append(1);
  rig.require_same("full");
  refused(1);
  return {fmt::format("full at {} tokens", room), {}, {}};
}

Result check_truncate(const Target& target, at::ScalarType dtype) {
  KvRig rig(target, kv_shape(target, dtype));
  rig.configure();
  const auto truncate = [&](std::int64_t to) {
    return rig.call("truncate", [&](KvPolicy& kv) { return kv.truncate(to); });
  };
  rig.append(20);
  if (!rig.has(kv_truncate)) {
    require_refused(truncate(1), "truncate without the bit for it");
    rig.require_same("after a refused truncate");
    return {"refused, as the bits say", {}, {}};
  }
  for (const std::int64_t to : {20, 13, 1, 0}) {
    require_ok(truncate(to), fmt::format("truncate({})", to));
    rig.model.truncate(to);
    rig.require_same(fmt::format("after truncate({})", to));
  }
  rig.append(9);
  require_refused(truncate(10), "truncate past the end");
  require_refused(truncate(-1), "truncate to -1");
  rig.require_same("after refused truncates");
  rig.append(4);
  rig.require_same("after a step that follows a truncate");
  return {"to 20, 13, 1 and 0 tokens", {}, {}};
}

Result check_memory(const Target& target, at::ScalarType dtype) {
  KvRig rig(target, kv_shape(target, dtype));
  rig.configure();
  const auto memory = [&] { return rig.call("memory", [](KvPolicy& kv) { return kv.memory(); }); };
  const auto bytes_for = [&](std::int64_t n) {
    return rig.call("bytes_for", [&](KvPolicy& kv) { return kv.bytes_for(n); });
  };
  const auto check = [&](const std::string& when) {
    const KvMemory now = memory();
    require(
        now.used_bytes >= 0 && now.used_bytes <= now.reserved_bytes && now.reserved_bytes <= now.peak_bytes,
        fmt::format("{}: memory() must have used {} <= reserved {} <= peak {}", when, now.used_bytes,
                    now.reserved_bytes, now.peak_bytes));
  };
  check("new");
  std::int64_t last = 0;
  for (const std::int64_t n : {0, 1, 2, 100, 255, 256, 257, 600}) {
    require(bytes_for(n) >= last, fmt::format("bytes_for({}) is less than for fewer tokens", n));
    last = bytes_for(n);
  }
  const std::int64_t forecast = bytes_for(300);
  rig.prepare(300);
  const KvStep step = rig.random_step(300);
  rig.write(step);
  const std::int64_t reserved = memory().reserved_bytes;
  require(reserved <= forecast,
          fmt::format("bytes_for(300) said {} bytes, {} are reserved", forecast, reserved));
  require(reserved > 0, "300 tokens are written, and memory() says that nothing is reserved");
  check("in a step");
  rig.accept(step, 300);
  check("after commit");
  const std::int64_t before = memory().reserved_bytes;
  const std::int64_t after = rig.call("shrink_to", [](KvPolicy& kv) { return kv.shrink_to(0); });
  require(after == memory().reserved_bytes,
          fmt::format("shrink_to answered {} bytes, memory() says {}", after, memory().reserved_bytes));
  require(after <= before, "shrink_to reserved more");
  rig.require_same("after shrink_to(0): no token may be lost");
  if (rig.has(kv_shrink) && rig.has(kv_truncate)) {
    require_ok(rig.call("truncate", [](KvPolicy& kv) { return kv.truncate(10); }), "truncate");
    rig.model.truncate(10);
    const std::int64_t small = rig.call("shrink_to", [](KvPolicy& kv) { return kv.shrink_to(0); });
    require(small < before,
            fmt::format("the shrink bit is set, but shrink_to(0) with 10 of 300 tokens left gave "
                        "nothing back ({} bytes)",
                        small));
    rig.require_same("after truncate and shrink_to");
  }
  rig.append(5);
  rig.require_same("after a step that follows shrink_to");
  check("at the end");
  return {fmt::format("300 tokens: forecast {} bytes, reserved {}", forecast, reserved),
          {{"forecast_bytes", forecast}, {"reserved_bytes", reserved}},
          {}};
}

Result check_attend(const Target& target, at::ScalarType dtype) {
  KvRig rig(target, kv_shape(target, dtype));
  rig.configure();
  rig.append(20);
  rig.prepare(5);
  const KvStep step = rig.random_step(5);
  rig.write(step);
  const std::int64_t heads = 4 * rig.shape.kv_heads, dim = rig.shape.head_dim;
  const double scale = 1.0 / std::sqrt(static_cast<double>(dim));
  const at::Tensor q = at::randn({5, heads, dim}).to(dtype).to(rig.shape.device);
  at::Tensor out = at::zeros_like(q);
  const Status status = rig.call("attend", [&](KvPolicy& kv) { return kv.attend(1, q, scale, out); });
  if (!rig.has(kv_native_attend)) {
    require_refused(status, "attend without the bit for it");
    return {"refused, as the bits say", {}, {}};
  }
  require_ok(status, "attend");
  // [heads, S, dim] in fp64 of what view() shows, causal from the first prepared position on.
  at::Tensor k, v;
  require_ok(rig.call("view", [&](KvPolicy& kv) { return kv.view(1, k, v); }), "view");
  const at::Tensor keys = to_fp64(k).repeat_interleave(4, 0), values = to_fp64(v).repeat_interleave(4, 0);
  at::Tensor scores = at::matmul(to_fp64(q).transpose(0, 1), keys.transpose(1, 2)) * scale;
  const std::int64_t past = keys.size(1) - 5;
  for (std::int64_t i = 0; i < 5; ++i) scores.select(1, i).narrow(1, past + i + 1, 4 - i).fill_(-INFINITY);
  const at::Tensor expected = at::matmul(at::softmax(scores, -1), values).transpose(0, 1);
  const double worst = at::nan_to_num((to_fp64(out) - expected).abs(), INFINITY).max().item<double>();
  const double allowed = dtype == at::kFloat ? 1e-4 : 0.05;
  require(worst <= allowed, fmt::format("attend is off by {:.3g} from fp64, {} is allowed", worst, allowed));
  return {fmt::format("off by {:.2g}", worst), {{"worst", worst}}, {}};
}

Result check_bad_calls(const Target& target, at::ScalarType dtype) {
  KvRig rig(target, kv_shape(target, dtype));
  rig.configure();
  rig.append(6);
  int count = 0;
  const KvStep three = rig.random_step(3), four = rig.random_step(4);
  const KvStep* in_step = nullptr;
  const auto refused = [&](const std::string& what, const char* function, auto&& f) {
    require_refused(rig.call(function, f), what);
    rig.require_same(fmt::format("after {}: it must have no effect", what), in_step);
    ++count;
  };
  refused("commit without a step", "commit", [](KvPolicy& kv) { return kv.commit(1); });
  refused("write without a step", "write", [&](KvPolicy& kv) { return kv.write(0, three.k[0], three.v[0]); });
  KvReserve answer = KvReserve::would_evict;
  refused("prepare of -1 tokens", "prepare", [&](KvPolicy& kv) { return kv.prepare(-1, answer); });
  refused("import_layer without begin_import", "import_layer",
          [&](KvPolicy& kv) { return kv.import_layer(0, three.k[0]); });

  rig.prepare(3);
  rig.write(three);
  in_step = &three;
  refused("prepare within a step", "prepare", [&](KvPolicy& kv) { return kv.prepare(1, answer); });
  refused("write of too many tokens", "write",
          [&](KvPolicy& kv) { return kv.write(1, four.k[1], four.v[1]); });
  refused("write to layer 3 of 3", "write",
          [&](KvPolicy& kv) { return kv.write(3, three.k[0], three.v[0]); });
  refused("write to layer -1", "write", [&](KvPolicy& kv) { return kv.write(-1, three.k[0], three.v[0]); });
  const at::ScalarType wrong = dtype == at::kFloat ? at::kBFloat16 : at::kFloat;
  refused("write of another dtype", "write",
          [&](KvPolicy& kv) { return kv.write(0, three.k[0].to(wrong), three.v[0].to(wrong)); });
  refused("write of undefined keys", "write",
          [&](KvPolicy& kv) { return kv.write(0, at::Tensor(), three.v[0]); });
  refused("write of other heads", "write",
          [&](KvPolicy& kv) { return kv.write(0, three.k[0].narrow(1, 0, 1), three.v[0].narrow(1, 0, 1)); });
  refused("commit of more than was prepared", "commit", [](KvPolicy& kv) { return kv.commit(4); });
  refused("commit of -1 tokens", "commit", [](KvPolicy& kv) { return kv.commit(-1); });
  const at::Tensor sentinel = at::full({1}, 42.0);
  at::Tensor k = sentinel, v = sentinel;
  require_refused(rig.call("view", [&](KvPolicy& kv) { return kv.view(3, k, v); }), "view of layer 3 of 3");
  require((!k.defined() || k.is_same(sentinel)) && (!v.defined() || v.is_same(sentinel)),
          "view of layer 3 of 3 failed, but changed its outputs");
  rig.accept(three, 3);
  if (rig.has(kv_retains)) rig.require_same("after the bad calls");
  rig.append(2);
  return {fmt::format("{} refused without effect", count + 1), {{"calls", count + 1}}, {}};
}

}  // namespace

std::vector<Case> kv_cases(const Target& target) {
  std::vector<Case> cases;
  cases.push_back({"kv/contract", [&target] { return check_contract(target); }});
  using Check = Result (*)(const Target&, at::ScalarType);
  for (const std::string& name : target.contract.claims.dtypes) {
    const auto dtype = dtype_of(name);
    if (!dtype) continue;
    const auto add = [&](const char* what, Check check) {
      cases.push_back(
          {fmt::format("kv/{}/{}", what, name), [&target, check, d = *dtype] { return check(target, d); }});
    };
    add("lifecycle", check_lifecycle);
    add("steps", check_steps);
    add("full", check_full);
    add("truncate", check_truncate);
    add("fork", check_kv_fork);
    add("evict", check_kv_evict);
    add("export-import", check_kv_transfer);
    add("addresses", check_kv_addresses);
    add("memory", check_memory);
    add("attend", check_attend);
    add("bad-calls", check_bad_calls);
    add("random", check_kv_random);
  }
  return cases;
}

}  // namespace tetrad::check

// The operations of a KV policy that involve a second object or a sequence: fork, evict, export and import,
// addresses over growth and reset, and random sequences of everything.
#include "check/compare.h"
#include "check/kv_cases.h"
#include "check/kv_rig.h"
#include "check/linear_rig.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <memory>
#include <random>

namespace tetrad::check {
namespace {

Status fork_of(KvRig& rig, KvPolicy*& copy) {
  return rig.call("fork", [&](KvPolicy& kv) { return kv.fork(copy); });
}

// Copies every token of `from` into a new object through export and import.
std::unique_ptr<KvRig> transferred(KvRig& from) {
  auto to = std::make_unique<KvRig>(from.target, from.shape);
  to->configure();
  const std::int64_t tokens = from.model.resident();
  require_ok(to->call("begin_import", [&](KvPolicy& kv) { return kv.begin_import(tokens); }),
             fmt::format("begin_import({})", tokens));
  for (std::int64_t layer = 0; layer < from.shape.layers; ++layer) {
    at::Tensor bytes;
    require_ok(from.call("export_layer", [&](KvPolicy& kv) { return kv.export_layer(layer, bytes); }),
               "export_layer");
    require(bytes.defined(), "export_layer gave no tensor");
    require_ok(to->call("import_layer", [&](KvPolicy& kv) { return kv.import_layer(layer, bytes); }),
               "import_layer");
  }
  to->commit(tokens);
  to->model = from.model;
  to->model.next_position = tokens;
  return to;
}

}  // namespace

Result check_kv_fork(const Target& target, at::ScalarType dtype) {
  KvRig rig(target, kv_shape(target, dtype));
  rig.configure();
  rig.append(12);
  KvPolicy* copy = nullptr;
  if (!rig.has(kv_fork)) {
    require_refused(fork_of(rig, copy), "fork without the bit for it");
    require(copy == nullptr, "fork was refused, but gave an object");
    return {"refused, as the bits say", {}, {}};
  }
  require_ok(fork_of(rig, copy), "fork");
  require(copy != nullptr && copy != &rig.policy(), "fork gave no second object");
  KvRig other(rig, copy);
  other.require_same("a fork");
  rig.append(3);
  other.append(8);
  rig.require_same("the first after both went on");
  other.require_same("the fork after both went on: the two must not share anything");
  rig.reset();
  rig.append(5);
  other.require_same("the fork after the first was reset");
  {
    KvPolicy* third = nullptr;
    require_ok(fork_of(other, third), "fork of a fork");
    KvRig short_lived(other, third);
    short_lived.append(1);
    short_lived.require_same("a fork of a fork");
  }
  other.require_same("a fork after its own fork was destroyed");
  rig.require_same("the first at the end");
  return {"independent both ways", {}, {}};
}

Result check_kv_evict(const Target& target, at::ScalarType dtype) {
  KvRig rig(target, kv_shape(target, dtype));
  rig.configure();
  rig.append(20);
  const auto evict = [&](std::int64_t begin, std::int64_t end) {
    return rig.call("evict", [&](KvPolicy& kv) { return kv.evict(begin, end); });
  };
  if (!rig.has(kv_evict)) {
    require_refused(evict(0, 1), "evict without the bit for it");
    rig.require_same("after a refused evict");
    return {"refused, as the bits say", {}, {}};
  }
  require_ok(evict(4, 9), "evict(4, 9)");
  rig.model.evict(4, 9);
  rig.require_same("after evict(4, 9): survivors stay, next_position does not move");
  require_refused(evict(3, 2), "evict of a range that ends before it begins");
  require_refused(evict(-1, 2), "evict from -1");
  rig.require_same("after refused evicts");
  rig.append(6);
  rig.require_same("after a step that follows an evict");
  return {"5 of 20 tokens", {}, {}};
}

Result check_kv_transfer(const Target& target, at::ScalarType dtype) {
  KvRig rig(target, kv_shape(target, dtype));
  rig.configure();
  rig.append(11);
  rig.append(2);
  at::Tensor bytes;
  const auto begin = [&](std::int64_t tokens) {
    return rig.call("begin_import", [&](KvPolicy& kv) { return kv.begin_import(tokens); });
  };
  if (!rig.has(kv_export)) {
    require_refused(rig.call("export_layer", [&](KvPolicy& kv) { return kv.export_layer(0, bytes); }),
                    "export_layer without the bit for it");
    require(!bytes.defined(), "export_layer was refused, but gave a tensor");
    require_refused(begin(1), "begin_import without the bit for it");
    return {"refused, as the bits say", {}, {}};
  }
  const std::unique_ptr<KvRig> other = transferred(rig);
  other->require_same("after import");
  other->append(4);
  other->require_same("after a step that follows an import");
  rig.require_same("the exporter afterwards");

  require_ok(rig.call("export_layer", [&](KvPolicy& kv) { return kv.export_layer(0, bytes); }),
             "export_layer");
  require_refused(begin(rig.shape.max_tokens + 1), "begin_import of more than max_tokens");
  rig.require_same("after a refused begin_import: what was held stays");
  // A broken import leaves an empty cache that works.
  require_ok(begin(13), "begin_import(13)");
  require_refused(rig.call("import_layer", [&](KvPolicy& kv) { return kv.import_layer(0, at::zeros({3})); }),
                  "import_layer of something else");
  require_refused(rig.call("import_layer", [&](KvPolicy& kv) { return kv.import_layer(99, bytes); }),
                  "import_layer of layer 99");
  require_ok(rig.call("import_layer", [&](KvPolicy& kv) { return kv.import_layer(0, bytes); }),
             "import_layer");
  require_refused(rig.call("commit", [](KvPolicy& kv) { return kv.commit(13); }),
                  "commit of an import that lacks layers");
  rig.abort();
  rig.model.reset();
  rig.require_same("after an aborted import: the cache must be empty");
  rig.append(8);
  rig.require_same("after a step that follows an aborted import");
  return {"13 tokens through bytes, equal", {}, {}};
}

Result check_kv_addresses(const Target& target, at::ScalarType dtype) {
  KvRig rig(target, kv_shape(target, dtype));
  rig.configure();
  const auto epoch = [&] { return rig.call("graph_epoch", [](KvPolicy& kv) { return kv.graph_epoch(); }); };
  const auto address = [&] {
    at::Tensor k, v;
    require_ok(rig.call("view", [&](KvPolicy& kv) { return kv.view(2, k, v); }), "view");
    return k.const_data_ptr();
  };
  if (!rig.has(kv_graph_safe) || !rig.has(kv_retains)) {
    (void)epoch();
    throw Skip("it does not claim graph_safe");
  }
  int moves = 0, steps = 0;
  const void* last = nullptr;
  std::uint64_t at = epoch();
  while (rig.model.resident() + 37 <= rig.shape.max_tokens) {
    rig.append(37);
    const void* now = address();
    const std::uint64_t then = epoch();
    require(last == nullptr || now == last || then != at,
            fmt::format("the addresses moved at {} tokens, but graph_epoch did not change",
                        rig.model.resident()));
    moves += last == nullptr || now == last ? 0 : 1;
    ++steps;
    last = now;
    at = then;
  }
  rig.reset();
  require(epoch() == at, "reset changed graph_epoch: addresses must stay");
  rig.append(10);
  require(address() == last && epoch() == at, "addresses moved over reset, or graph_epoch changed");
  rig.require_same("after reset");
  return {
      fmt::format("{} moves in {} steps, each seen in graph_epoch; none over reset", moves, steps), {}, {}};
}

Result check_kv_random(const Target& target, at::ScalarType dtype) {
  int operations = 0;
  for (std::uint32_t seed = 1; seed <= 4; ++seed) {
    std::mt19937 rng(seed);
    const auto pick = [&](std::int64_t low, std::int64_t high) {
      return low + static_cast<std::int64_t>(rng() % static_cast<std::uint64_t>(high - low + 1));
    };
    std::vector<std::unique_ptr<KvRig>> rigs;
    rigs.push_back(std::make_unique<KvRig>(target, kv_shape(target, dtype, 16)));
    rigs[0]->configure();
    const bool retains = rigs[0]->has(kv_retains);
    for (int turn = 0; turn < 40; ++turn, ++operations) {
      KvRig& rig = *rigs[static_cast<std::size_t>(pick(0, static_cast<std::int64_t>(rigs.size()) - 1))];
      const std::int64_t held = rig.model.resident();
      const std::int64_t choice = pick(0, 9);
      if (choice <= 4) {
        const std::int64_t n = pick(0, 3) ? pick(1, 8) : pick(1, 300);
        if (rig.model.next_position + n > rig.shape.max_tokens) continue;
        rig.prepare(n);
        if (pick(0, 2) == 0) rig.write(rig.random_step(n));
        const KvStep step = rig.random_step(n);
        rig.write(step);
        rig.require_same("in a step", &step);
        if (pick(0, 5) == 0) {
          rig.abort();
        } else {
          rig.accept(step, pick(0, 3) ? n : pick(0, n));
        }
      } else if (choice == 5 && rig.has(kv_truncate) && held == rig.model.next_position) {
        const std::int64_t to = pick(0, held);
        require_ok(rig.call("truncate", [&](KvPolicy& kv) { return kv.truncate(to); }), "truncate");
        rig.model.truncate(to);
      } else if (choice == 6 && rig.has(kv_fork) && rigs.size() < 4) {
        KvPolicy* copy = nullptr;
        require_ok(fork_of(rig, copy), "fork");
        rigs.push_back(std::make_unique<KvRig>(rig, copy));
      } else if (choice == 7 && rig.has(kv_export) && held > 0 && held == rig.model.next_position) {
        rigs.push_back(transferred(rig));
        if (rigs.size() > 4) rigs.erase(rigs.begin());
      } else if (choice == 8) {
        const std::int64_t bytes = pick(0, 200000);
        (void)rig.call("shrink_to", [&](KvPolicy& kv) { return kv.shrink_to(bytes); });
      } else if (choice == 9 && pick(0, 2) == 0) {
        rig.reset();
      }
      if (!retains) continue;
      for (const auto& each : rigs)
        each->require_same(fmt::format("random sequence {}, operation {}", seed, turn));
    }
  }
  return {fmt::format("{} operations in 4 sequences", operations), {{"operations", operations}}, {}};
}

}  // namespace tetrad::check

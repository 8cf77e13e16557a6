// A KV policy on the bench beside a naive cache that says what it must hold: one tensor per layer, every
// operation spelled out. Every call to the policy leaves a breadcrumb.
#pragma once

#include "check/case.h"
#include "check/target.h"
#include "plugin/loader.h"

#include <tetrad/torch/kv_policy.h>

#include <memory>
#include <string>
#include <vector>

namespace tetrad::check {

// New keys and values of every layer, [n, kv_heads, head_dim].
struct KvStep {
  std::vector<at::Tensor> k, v;
};

class NaiveKv {
 public:
  NaiveKv(const KvShape& shape, bool retains);
  // What the policy must hold after commit(n) of `step`.
  void commit(const KvStep& step, std::int64_t n);
  void truncate(std::int64_t length);
  void evict(std::int64_t begin, std::int64_t end);
  void reset();

  std::vector<at::Tensor> k, v;  // per layer, [resident, kv_heads, head_dim]
  std::int64_t next_position = 0;
  std::int64_t resident() const { return k.front().size(0); }

 private:
  bool retains_;
};

class KvRig {
  template <class F>
  auto marked(const char* function, F&& f) {
    const plugin::Breadcrumb here(plugin.id().c_str(), function);
    return f();
  }

 public:
  KvRig(const Target& target, const KvShape& shape);
  // An object that fork() made, with what it must hold.
  KvRig(KvRig& from, KvPolicy* copy);

  // configure(); throws Failure when it is refused.
  void configure();

  KvPolicy& policy() noexcept { return *handle_; }
  std::uint32_t bits() {
    return marked("capabilities", [&] { return handle_->capabilities(); });
  }
  bool has(KvBits bit) { return (bits() & bit) != 0; }

  // A call with its breadcrumb: rig.call("write", [&](KvPolicy& kv) { return kv.write(0, k, v); }).
  template <class F>
  auto call(const char* function, F&& f) {
    return marked(function, [&] { return f(*handle_); });
  }

  // Calls that must succeed.
  void prepare(std::int64_t n);
  void write(const KvStep& step);
  void commit(std::int64_t n);
  void abort();
  void reset();
  KvStep random_step(std::int64_t n) const;
  // prepare, write, commit all; policy and model.
  void append(std::int64_t n);
  // Commits the step to policy and model.
  void accept(const KvStep& step, std::int64_t n);

  void require_lengths(const std::string& when);
  // Lengths, and views of every layer, against the model. `step`: prepared and written tokens that are viewed
  // too.
  void require_same(const std::string& when, const KvStep* step = nullptr);
  KvLengths lengths() {
    return marked("lengths", [&] { return handle_->lengths(); });
  }

  const Target& target;
  KvShape shape;
  plugin::Plugin& plugin;
  NaiveKv model;

 private:
  void require_values(const at::Tensor& got, const at::Tensor& expected, const std::string& what);

  plugin::Handle<KvPolicy> handle_;
};

// 3 layers of 2 heads; max_tokens 600.
KvShape kv_shape(const Target& target, at::ScalarType dtype, std::int64_t head_dim = 64);

}  // namespace tetrad::check

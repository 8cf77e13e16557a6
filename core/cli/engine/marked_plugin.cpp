#include "cli/engine/marked_plugin.h"

#include "plugin/breadcrumb.h"

namespace tetrad::cli {
namespace {

using plugin::Breadcrumb;

class MarkedLinear final : public LinearBackend {
 public:
  MarkedLinear(LinearBackend& object, const char* plugin) : object_(object), plugin_(plugin) {}

  Capability capability(const LinearSetup& setup) const noexcept override {
    const Breadcrumb crumb(plugin_, "capability");
    return object_.capability(setup);
  }
  Status configure(const LinearSetup& setup) noexcept override {
    const Breadcrumb crumb(plugin_, "configure");
    return object_.configure(setup);
  }
  Status prepare(Parameter& parameter, WeightId& weight) noexcept override {
    const Breadcrumb crumb(plugin_, "prepare");
    return object_.prepare(parameter, weight);
  }
  Status forward(std::span<const WeightId> weights, const at::Tensor& x, Pass pass,
                 std::vector<at::Tensor>& y) noexcept override {
    const Breadcrumb crumb(plugin_, "forward");
    return object_.forward(weights, x, pass, y);
  }
  Status gather(WeightId weight, const at::Tensor& ids, at::Tensor& out) noexcept override {
    const Breadcrumb crumb(plugin_, "gather");
    return object_.gather(weight, ids, out);
  }
  Status grad_input(WeightId weight, const at::Tensor& dy, at::Tensor& dx) noexcept override {
    const Breadcrumb crumb(plugin_, "grad_input");
    return object_.grad_input(weight, dy, dx);
  }
  Status grad_weight(WeightId weight, const at::Tensor& dy, const at::Tensor& x,
                     at::Tensor& dw) noexcept override {
    const Breadcrumb crumb(plugin_, "grad_weight");
    return object_.grad_weight(weight, dy, x, dw);
  }
  Status dequantized(WeightId weight, at::Tensor& w) noexcept override {
    const Breadcrumb crumb(plugin_, "dequantized");
    return object_.dequantized(weight, w);
  }
  std::int64_t clear_eval_cache() noexcept override {
    const Breadcrumb crumb(plugin_, "clear_eval_cache");
    return object_.clear_eval_cache();
  }
  LinearMemory memory() const noexcept override {
    const Breadcrumb crumb(plugin_, "memory");
    return object_.memory();
  }
  std::uint64_t weight_epoch() const noexcept override {
    const Breadcrumb crumb(plugin_, "weight_epoch");
    return object_.weight_epoch();
  }

 private:
  LinearBackend& object_;
  const char* plugin_;
};

class MarkedKv final : public KvPolicy {
 public:
  MarkedKv(KvPolicy& object, const char* plugin) : object_(object), plugin_(plugin) {}

  std::uint32_t capabilities() const noexcept override {
    const Breadcrumb crumb(plugin_, "capabilities");
    return object_.capabilities();
  }
  Status configure(const KvShape& shape) noexcept override {
    const Breadcrumb crumb(plugin_, "configure");
    return object_.configure(shape);
  }
  Status prepare(std::int64_t n, KvReserve& answer) noexcept override {
    const Breadcrumb crumb(plugin_, "prepare");
    return object_.prepare(n, answer);
  }
  Status write(std::int64_t layer, const at::Tensor& k, const at::Tensor& v) noexcept override {
    const Breadcrumb crumb(plugin_, "write");
    return object_.write(layer, k, v);
  }
  Status view(std::int64_t layer, at::Tensor& k, at::Tensor& v) noexcept override {
    const Breadcrumb crumb(plugin_, "view");
    return object_.view(layer, k, v);
  }
  Status attend(std::int64_t layer, const at::Tensor& q, double scale, at::Tensor& out) noexcept override {
    const Breadcrumb crumb(plugin_, "attend");
    return object_.attend(layer, q, scale, out);
  }
  Status commit(std::int64_t n) noexcept override {
    const Breadcrumb crumb(plugin_, "commit");
    return object_.commit(n);
  }
  Status abort() noexcept override {
    const Breadcrumb crumb(plugin_, "abort");
    return object_.abort();
  }
  KvLengths lengths() const noexcept override {
    const Breadcrumb crumb(plugin_, "lengths");
    return object_.lengths();
  }
  Status truncate(std::int64_t length) noexcept override {
    const Breadcrumb crumb(plugin_, "truncate");
    return object_.truncate(length);
  }
  Status fork(KvPolicy*& copy) noexcept override {
    const Breadcrumb crumb(plugin_, "fork");
    return object_.fork(copy);
  }
  Status evict(std::int64_t begin, std::int64_t end) noexcept override {
    const Breadcrumb crumb(plugin_, "evict");
    return object_.evict(begin, end);
  }
  Status reset() noexcept override {
    const Breadcrumb crumb(plugin_, "reset");
    return object_.reset();
  }
  Status export_layer(std::int64_t layer, at::Tensor& bytes) noexcept override {
    const Breadcrumb crumb(plugin_, "export_layer");
    return object_.export_layer(layer, bytes);
  }
  Status begin_import(std::int64_t tokens) noexcept override {
    const Breadcrumb crumb(plugin_, "begin_import");
    return object_.begin_import(tokens);
  }
  Status import_layer(std::int64_t layer, const at::Tensor& bytes) noexcept override {
    const Breadcrumb crumb(plugin_, "import_layer");
    return object_.import_layer(layer, bytes);
  }
  KvMemory memory() const noexcept override {
    const Breadcrumb crumb(plugin_, "memory");
    return object_.memory();
  }
  std::int64_t bytes_for(std::int64_t tokens) const noexcept override {
    const Breadcrumb crumb(plugin_, "bytes_for");
    return object_.bytes_for(tokens);
  }
  std::int64_t shrink_to(std::int64_t bytes) noexcept override {
    const Breadcrumb crumb(plugin_, "shrink_to");
    return object_.shrink_to(bytes);
  }
  std::uint64_t graph_epoch() const noexcept override {
    const Breadcrumb crumb(plugin_, "graph_epoch");
    return object_.graph_epoch();
  }
  Status slots(std::int64_t layer, at::Tensor& k, at::Tensor& v) noexcept override {
    const Breadcrumb crumb(plugin_, "slots");
    return object_.slots(layer, k, v);
  }
  Status written() noexcept override {
    const Breadcrumb crumb(plugin_, "written");
    return object_.written();
  }

 private:
  KvPolicy& object_;
  const char* plugin_;
};

class MarkedOptimizer final : public Optimizer {
 public:
  MarkedOptimizer(Optimizer& object, const char* plugin) : object_(object), plugin_(plugin) {}

  Capability capability(const OptimizerSetup& setup) const noexcept override {
    const Breadcrumb crumb(plugin_, "capability");
    return object_.capability(setup);
  }
  Status configure(const OptimizerSetup& setup) noexcept override {
    const Breadcrumb crumb(plugin_, "configure");
    return object_.configure(setup);
  }
  Status prepare(Parameter& parameter, double weight_decay, StateId& state) noexcept override {
    const Breadcrumb crumb(plugin_, "prepare");
    return object_.prepare(parameter, weight_decay, state);
  }
  Status update(std::span<const UpdateItem> items, const StepFactors& factors) noexcept override {
    const Breadcrumb crumb(plugin_, "update");
    return object_.update(items, factors);
  }
  Status describe(StateId state, StorageTable& table) const noexcept override {
    const Breadcrumb crumb(plugin_, "describe");
    return object_.describe(state, table);
  }
  Status forecast(std::span<const std::int64_t> shape, Role role, Format format,
                  StorageTable& table) const noexcept override {
    const Breadcrumb crumb(plugin_, "forecast");
    return object_.forecast(shape, role, format, table);
  }
  Status state(StateId state, std::vector<NamedTensor>& tensors) noexcept override {
    const Breadcrumb crumb(plugin_, "state");
    return object_.state(state, tensors);
  }
  Status restore(StateId state, std::span<const NamedTensor> tensors) noexcept override {
    const Breadcrumb crumb(plugin_, "restore");
    return object_.restore(state, tensors);
  }
  std::string state_format() const noexcept override {
    const Breadcrumb crumb(plugin_, "state_format");
    return object_.state_format();
  }
  Status proof(StateId state, UpdateProof& proof) noexcept override {
    const Breadcrumb crumb(plugin_, "proof");
    return object_.proof(state, proof);
  }
  OptimizerMemory memory() const noexcept override {
    const Breadcrumb crumb(plugin_, "memory");
    return object_.memory();
  }

 private:
  Optimizer& object_;
  const char* plugin_;
};

}  // namespace

std::unique_ptr<LinearBackend> mark_calls(LinearBackend& object, const char* plugin) {
  return std::make_unique<MarkedLinear>(object, plugin);
}

std::unique_ptr<KvPolicy> mark_calls(KvPolicy& object, const char* plugin) {
  return std::make_unique<MarkedKv>(object, plugin);
}

std::unique_ptr<Optimizer> mark_calls(Optimizer& object, const char* plugin) {
  return std::make_unique<MarkedOptimizer>(object, plugin);
}

}  // namespace tetrad::cli

// A dense backend that works until the call named in its option `how`, where it crashes, throws or lies.
#include <ATen/ops/index_select.h>
#include <ATen/ops/linear.h>
#include <tetrad/base/plugin.h>
#include <tetrad/torch/guarded.h>
#include <tetrad/torch/linear.h>

#include <csignal>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <thread>

namespace {

using namespace tetrad;

class Misbehaving final : public LinearBackend {
 public:
  explicit Misbehaving(const Options& options) : how_(options.get<std::string>("how")) {
    if (how_ == "throw-create") throw std::runtime_error("no wish to exist");
    crash("segv-create");
  }

  Capability capability(const LinearSetup&) const noexcept override {
    if (how_ == "unsupported")
      return {Support::unsupported, "", "there is no abacus in this machine; buy one"};
    return {Support::native, "misbehaving", "as its option says"};
  }
  Status configure(const LinearSetup&) noexcept override {
    crash("segv-configure");
    return {};
  }
  Status prepare(Parameter& parameter, WeightId& weight) noexcept override {
    crash("segv-prepare");
    weight = static_cast<WeightId>(weights_.size());
    weights_.push_back(parameter.dense);
    return {};
  }
  Status forward(std::span<const WeightId> weights, const at::Tensor& x, Pass,
                 std::vector<at::Tensor>& y) noexcept override {
    crash("segv-forward");
    if (how_ == "throw-forward") fall_over();
    if (how_ == "exit-forward") std::_Exit(7);
    if (how_ == "worker-forward") std::thread([] { std::raise(SIGSEGV); }).join();
    if (how_ == "status-forward") return {StatusCode::out_of_memory, "no memory for the product"};
    return torch_guarded([&] {
      for (const WeightId weight : weights) y.push_back(at::linear(x, of(weight)));
      if (how_ == "too-few") y.pop_back();
      if (how_ == "undefined") y.back() = at::Tensor();
      if (how_ == "wrong-shape") y.back() = y.back().narrow(1, 0, 1);
      if (how_ == "wrong-rows") y.back() = y.back().narrow(0, 0, 0);
    });
  }
  Status gather(WeightId weight, const at::Tensor& ids, at::Tensor& out) noexcept override {
    if (how_ == "abort-gather") std::abort();
    return torch_guarded([&] { out = at::index_select(of(weight), 0, ids); });
  }
  Status grad_input(WeightId, const at::Tensor&, at::Tensor&) noexcept override {
    return Status::unsupported("no gradients");
  }
  Status grad_weight(WeightId, const at::Tensor&, const at::Tensor&, at::Tensor&) noexcept override {
    return Status::unsupported("no gradients");
  }
  Status dequantized(WeightId weight, at::Tensor& w) noexcept override {
    w = of(weight);
    return {};
  }
  std::int64_t clear_eval_cache() noexcept override { return 0; }
  LinearMemory memory() const noexcept override { return {}; }
  std::uint64_t weight_epoch() const noexcept override { return 0; }

 private:
  // Out of line, so that the compiler does not see what it is asked to do inside a noexcept function.
  static void fall_over() { throw std::runtime_error("an exception where none may be"); }
  void crash(const char* here) const noexcept {
    if (how_ == here) std::raise(SIGSEGV);
  }
  const at::Tensor& of(WeightId weight) const { return weights_.at(static_cast<std::size_t>(weight)); }

  std::string how_;
  std::vector<at::Tensor> weights_;
};

}  // namespace

TETRAD_PLUGIN(tetrad::Provides<"linear", tetrad::LinearBackend, Misbehaving>);

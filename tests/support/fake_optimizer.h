// An optimizer for tests of the trainer: plain SGD with a running sum as its state, fp32 everywhere, and the
// rules of the interface (stop word, scale, versions) kept to the letter.
#pragma once

#include <ATen/Functions.h>
#include <tetrad/torch/guarded.h>
#include <tetrad/torch/optimizer.h>

#include <string>
#include <vector>

namespace tetrad::test {

class FakeOptimizer final : public Optimizer {
 public:
  Capability capability(const OptimizerSetup&) const noexcept override {
    return {Support::native, "fake", ""};
  }
  Status configure(const OptimizerSetup&) noexcept override { return {}; }
  Status prepare(Parameter& parameter, double weight_decay, StateId& state) noexcept override {
    return torch_guarded([&] {
      state = static_cast<StateId>(slots.size());
      if (parameter.dense.scalar_type() != at::kFloat) {
        parameter.dense = parameter.dense.to(at::kFloat);
        parameter.format = Format::fp32;
        ++parameter.version;
      }
      slots.push_back({&parameter, weight_decay, at::zeros(parameter.shape), {}});
    });
  }
  Status update(std::span<const UpdateItem> items, const StepFactors& f) noexcept override {
    return torch_guarded([&] {
      for (const UpdateItem& item : items) {
        if (f.stop.item<int>() != 0) return;
        Slot& slot = slots.at(static_cast<std::size_t>(item.state));
        at::Tensor g = item.gradient.dense.to(at::kFloat).mul(f.scale);
        if (f.max_update_rms > 0.0 && knows_update_rms) {
          const at::Tensor rms = g.square().mean().sqrt().reshape({1});
          item.update_rms.copy_(rms);
          g = g.mul(at::clamp_max(at::reciprocal(rms).mul_(f.max_update_rms), 1.0));
        }
        if (!at::isfinite(g).all().item<bool>()) {
          f.stop.fill_(item.state + 1);
          return;
        }
        slot.m.add_(g);
        const at::Tensor before = slot.parameter->dense.clone();
        slot.parameter->dense.sub_(slot.m.mul(ignore_gradients ? 0.0 : f.lr));
        ++slot.parameter->version;
        slot.proof = {};
        if (!f.measure) continue;
        slot.proof.step = f.step;
        slot.proof.state_moved =
            at::count_nonzero(slot.m).item<double>() / static_cast<double>(slot.m.numel());
        slot.proof.weights_changed =
            at::ne(before, slot.parameter->dense).to(at::kDouble).mean().item<double>();
      }
      order.insert(order.end(), items.size(), 1);
    });
  }
  Status describe(StateId state, StorageTable& table) const noexcept override {
    const auto bytes = 4 * slots.at(static_cast<std::size_t>(state)).parameter->numel();
    table = {{"fp32", bytes}, {"fp32", bytes}, {"fp32", bytes}, {}, {}, GradientFormat::fp32};
    return {};
  }
  Status forecast(std::span<const std::int64_t> shape, Role, Format,
                  StorageTable& table) const noexcept override {
    std::int64_t bytes = 4;
    for (const std::int64_t n : shape) bytes *= n;
    table = {{"fp32", bytes}, {"fp32", bytes}, {"fp32", bytes}, {}, {}, GradientFormat::fp32};
    return {};
  }
  Status state(StateId state, std::vector<NamedTensor>& tensors) noexcept override {
    tensors = {{"m", slots.at(static_cast<std::size_t>(state)).m}};
    return {};
  }
  Status restore(StateId state, std::span<const NamedTensor> tensors) noexcept override {
    return torch_guarded([&] { slots.at(static_cast<std::size_t>(state)).m.copy_(tensors.front().tensor); });
  }
  std::string state_format() const noexcept override { return "fake 1"; }
  Status proof(StateId state, UpdateProof& proof) noexcept override {
    proof = slots.at(static_cast<std::size_t>(state)).proof;
    return {};
  }
  OptimizerMemory memory() const noexcept override { return {}; }

  struct Slot {
    Parameter* parameter = nullptr;
    double weight_decay = 0.0;
    at::Tensor m;
    UpdateProof proof;
  };
  std::vector<Slot> slots;
  std::vector<int> order;
  bool ignore_gradients = false, knows_update_rms = true;
};

}  // namespace tetrad::test

// A linear backend that hands everything to the shipped dense or NVFP4 one (option `base`): a base for
// backends that are right but for one thing. Its options are backend-nvfp4's and its own.
#pragma once

#include <tetrad/base/options.h>
#include <tetrad/torch/linear.h>

#include <memory>
#include <string>
#include <vector>

#include "backend_bf16.h"
#include "backend_nvfp4.h"

namespace tetrad::broken {

class WrappedLinear : public LinearBackend {
 public:
  explicit WrappedLinear(const Options& options) {
    if (options.get<std::string>("base") == "dense")
      inner_ = std::make_unique<backend_bf16::BackendBf16>();
    else
      inner_ = std::make_unique<backend_nvfp4::BackendNvfp4>(options);
  }

  Capability capability(const LinearSetup& setup) const noexcept override {
    return inner_->capability(setup);
  }
  Status configure(const LinearSetup& setup) noexcept override { return inner_->configure(setup); }
  Status prepare(Parameter& parameter, WeightId& weight) noexcept override {
    return inner_->prepare(parameter, weight);
  }
  Status forward(std::span<const WeightId> weights, const at::Tensor& x, Pass pass,
                 std::vector<at::Tensor>& y) noexcept override {
    return inner_->forward(weights, x, pass, y);
  }
  Status gather(WeightId weight, const at::Tensor& ids, at::Tensor& out) noexcept override {
    return inner_->gather(weight, ids, out);
  }
  Status grad_input(WeightId weight, const at::Tensor& dy, at::Tensor& dx) noexcept override {
    return inner_->grad_input(weight, dy, dx);
  }
  Status grad_weight(WeightId weight, const at::Tensor& dy, const at::Tensor& x,
                     at::Tensor& dw) noexcept override {
    return inner_->grad_weight(weight, dy, x, dw);
  }
  Status dequantized(WeightId weight, at::Tensor& w) noexcept override {
    return inner_->dequantized(weight, w);
  }
  std::int64_t clear_eval_cache() noexcept override { return inner_->clear_eval_cache(); }
  LinearMemory memory() const noexcept override { return inner_->memory(); }
  std::uint64_t weight_epoch() const noexcept override { return inner_->weight_epoch(); }

 private:
  std::unique_ptr<LinearBackend> inner_;
};

// "model.layers.3.self_attn.q_proj.weight"
inline std::string matrix_name(std::int64_t layer, const std::string& matrix) {
  return "model.layers." + std::to_string(layer) + "." + matrix + ".weight";
}

}  // namespace tetrad::broken

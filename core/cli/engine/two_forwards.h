// One model, two readings of its weights: a linear backend made of two objects of the same plugin that differ
// in the option `forward` (hi + lo, or hi alone). Both read the same parameters, so nothing lies in memory
// twice but their eval caches, and only one of those is filled at a time. For train.finish, which makes a hi
// model out of one that was trained as hi + lo.
#pragma once

#include <tetrad/torch/linear.h>

#include <cstdint>
#include <span>
#include <vector>

namespace tetrad::cli {

class TwoForwards final : public LinearBackend {
 public:
  // Both outlive this. The first one is in use.
  TwoForwards(LinearBackend& first, LinearBackend& second) : first_(first), second_(second) {}

  // Which one computes from now on; drops the other one's eval cache.
  void use_second(bool second);
  bool second() const noexcept { return now_ == &second_; }

  Capability capability(const LinearSetup& setup) const noexcept override { return now_->capability(setup); }
  Status configure(const LinearSetup& setup) noexcept override;
  Status prepare(Parameter& parameter, WeightId& weight) noexcept override;
  Status forward(std::span<const WeightId> weights, const at::Tensor& x, Pass pass,
                 std::vector<at::Tensor>& y) noexcept override {
    return now_->forward(weights, x, pass, y);
  }
  Status gather(WeightId weight, const at::Tensor& ids, at::Tensor& out) noexcept override {
    return now_->gather(weight, ids, out);
  }
  Status grad_input(WeightId weight, const at::Tensor& dy, at::Tensor& dx) noexcept override {
    return now_->grad_input(weight, dy, dx);
  }
  Status grad_weight(WeightId weight, const at::Tensor& dy, const at::Tensor& x,
                     at::Tensor& dw) noexcept override {
    return now_->grad_weight(weight, dy, x, dw);
  }
  Status dequantized(WeightId weight, at::Tensor& w) noexcept override {
    return now_->dequantized(weight, w);
  }
  std::int64_t clear_eval_cache() noexcept override {
    return first_.clear_eval_cache() + second_.clear_eval_cache();
  }
  LinearMemory memory() const noexcept override;
  // Each grows; so their sum, with the switches, changes whenever one of them does.
  std::uint64_t weight_epoch() const noexcept override {
    return first_.weight_epoch() + second_.weight_epoch() + switches_;
  }

 private:
  LinearBackend& first_;
  LinearBackend& second_;
  LinearBackend* now_ = &first_;
  std::uint64_t switches_ = 0;
};

}  // namespace tetrad::cli

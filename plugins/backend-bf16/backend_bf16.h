// backend-bf16: dense products on the weights as they are, in the run's dtype (its name says the usual one).
// It owns no bytes: every call reads Parameter::dense, so an optimizer's write is seen at once and there is
// nothing to clear. On a CPU in bf16 a few rows of x meet the weights in a product of their own
// (tetrad/nvfp4/dense_product.h), all weights of a call in one parallel loop; everything else is libtorch's
// product. A Parameter whose dtype or device is not the setup's is refused by name: the loader
// converts, backends do not.
#pragma once

#include <ATen/core/Tensor.h>
#include <tetrad/torch/linear.h>

#include <cstdint>
#include <span>
#include <vector>

namespace tetrad::backend_bf16 {

class BackendBf16 final : public LinearBackend {
 public:
  Capability capability(const LinearSetup& setup) const noexcept override;
  Status configure(const LinearSetup& setup) noexcept override;
  Status prepare(Parameter& parameter, WeightId& weight) noexcept override;

  Status forward(std::span<const WeightId> weights, const at::Tensor& x, Pass pass,
                 std::vector<at::Tensor>& y) noexcept override;
  Status gather(WeightId weight, const at::Tensor& ids, at::Tensor& out) noexcept override;
  Status grad_input(WeightId weight, const at::Tensor& dy, at::Tensor& dx) noexcept override;
  Status grad_weight(WeightId weight, const at::Tensor& dy, const at::Tensor& x,
                     at::Tensor& dw) noexcept override;
  Status dequantized(WeightId weight, at::Tensor& w) noexcept override;

  std::int64_t clear_eval_cache() noexcept override { return 0; }
  LinearMemory memory() const noexcept override { return {}; }
  std::uint64_t weight_epoch() const noexcept override;

 private:
  struct Weight {
    const Parameter* parameter;
    mutable const void* seen;  // address of the values when weight_epoch() last looked
  };
  const Parameter& at_id(WeightId weight) const;
  bool few_rows_apply(std::span<const WeightId> weights, const at::Tensor& x) const;
  void forward_few_rows(std::span<const WeightId> weights, const at::Tensor& x, std::vector<at::Tensor>& y);

  bool configured_ = false;
  LinearSetup setup_;
  std::vector<Weight> weights_;
  std::vector<float> prepared_;  // x of a product for few rows, in the kernel's order; kept for its memory
  mutable std::uint64_t epoch_ = 0;
};

}  // namespace tetrad::backend_bf16

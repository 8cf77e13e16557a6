// A parameter that stays dense: fp32 m and v, and an fp32 master where the weight is 16 bits wide and the
// plugin keeps one.
#pragma once

#include "optim/dense_update.h"
#include "optim/param_state.h"

namespace tetrad::optim {

struct DenseChoice {
  bool master = false;                              // keep an fp32 master beside a 16-bit weight
  DenseRounding rounding = DenseRounding::nearest;  // of a bf16 weight
  GradientFormat gradient = GradientFormat::fp32;
};

class DenseState final : public ParamState {
 public:
  // parameter.dense is fp32, bf16 or fp16 and stays as it is.
  DenseState(Parameter& parameter, double weight_decay, const Hyper& hyper, const DenseChoice& choice);

  void update(const Gradient& gradient, const StepContext& context, std::int32_t mark) override;
  StorageTable table() const override;
  std::vector<NamedTensor> tensors() override;
  std::int64_t moved_elements() const override;
  at::Tensor decoded_v(std::int64_t first, std::int64_t n) const override;
  Hyper hyper() const override { return hyper_; }
  std::vector<at::Tensor*> movable() override;

  // table() of a parameter of this shape and dense format.
  static StorageTable table_of(std::span<const std::int64_t> shape, Format format, const DenseChoice& choice);

 private:
  Hyper hyper_;
  DenseChoice choice_;
  at::Tensor m_, v_;
  at::Tensor master_;  // undefined without one
};

}  // namespace tetrad::optim

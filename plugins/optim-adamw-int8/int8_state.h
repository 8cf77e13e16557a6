// A dense parameter whose m and v are 8-bit codes.
#pragma once

#include "dynamic_map.h"
#include "int8_update.h"
#include "optim/param_state.h"

namespace tetrad::optim_adamw_int8 {

struct Int8Choice {
  optim::DenseRounding rounding = optim::DenseRounding::stochastic;  // of a bf16 weight
  GradientFormat gradient = GradientFormat::bf16;
};

class Int8State final : public optim::ParamState {
 public:
  // parameter.dense is fp32 or bf16. The maps (Float [256]) are on its device and live as long as the state.
  Int8State(Parameter& parameter, double weight_decay, const optim::Hyper& hyper, const Int8Choice& choice,
            const at::Tensor& m_map, const at::Tensor& v_map);

  void update(const Gradient& gradient, const optim::StepContext& context, std::int32_t mark) override;
  StorageTable table() const override;
  std::vector<NamedTensor> tensors() override;
  std::int64_t moved_elements() const override;
  at::Tensor decoded_v(std::int64_t first, std::int64_t n) const override;
  optim::Hyper hyper() const override { return hyper_; }
  std::vector<at::Tensor*> movable() override { return {&m_, &v_, &m_scales_, &v_scales_}; }

  static StorageTable table_of(std::span<const std::int64_t> shape, Format format, const Int8Choice& choice);

 private:
  optim::Hyper hyper_;
  Int8Choice choice_;
  at::Tensor m_map_, v_map_;
  at::Tensor m_, v_, m_scales_, v_scales_;
};

}  // namespace tetrad::optim_adamw_int8

// AdamW with 8-bit m and v (block-wise dynamic maps); weights stay in the type that they were loaded in.
// Parameters of one dimension, or of fewer than 4,096 elements, keep m and v in fp32, as bitsandbytes has it.
#pragma once

#include <tetrad/base/options.h>

#include <memory>
#include <string>

#include "int8_state.h"
#include "optim/dense_state.h"
#include "optim/optimizer_base.h"

namespace tetrad::optim_adamw_int8 {

class OptimAdamWInt8 final : public optim::OptimizerBase {
 public:
  explicit OptimAdamWInt8(const Options& options);

  Capability capability(const OptimizerSetup& setup) const noexcept override;
  std::string state_format() const noexcept override;

 protected:
  std::unique_ptr<optim::ParamState> make_state(Parameter& parameter, double weight_decay) override;
  StorageTable forecast_table(std::span<const std::int64_t> shape, Role role, Format format) const override;

 private:
  optim::DenseChoice small() const;

  optim::Hyper hyper_;
  Int8Choice choice_;
  at::Tensor m_map_, v_map_;  // on the setup's device; made for the first parameter
};

}  // namespace tetrad::optim_adamw_int8

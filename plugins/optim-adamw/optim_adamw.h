// AdamW with fp32 m and v; every parameter stays dense, in the type that it was loaded in.
#pragma once

#include <tetrad/base/options.h>

#include <memory>
#include <string>

#include "optim/dense_state.h"
#include "optim/optimizer_base.h"

namespace tetrad::optim_adamw {

class OptimAdamW final : public optim::OptimizerBase {
 public:
  explicit OptimAdamW(const Options& options);

  Capability capability(const OptimizerSetup& setup) const noexcept override;
  std::string state_format() const noexcept override;

 protected:
  std::unique_ptr<optim::ParamState> make_state(Parameter& parameter, double weight_decay) override;
  StorageTable forecast_table(std::span<const std::int64_t> shape, Role role, Format format) const override;

 private:
  void check_format(const std::string& name, Format format) const;

  optim::Hyper hyper_;
  optim::DenseChoice choice_;
};

}  // namespace tetrad::optim_adamw

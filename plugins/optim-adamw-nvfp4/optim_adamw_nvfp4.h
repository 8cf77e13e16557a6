// AdamW with w, g, m and v in NVFP4. Matrices (embedding and head with them) are planes; one-dimensional
// parameters are fp32 in all four, or planes too with `literal`.
#pragma once

#include <tetrad/base/options.h>

#include <memory>
#include <string>

#include "optim/adam_math.h"
#include "optim/optimizer_base.h"

namespace tetrad::optim_adamw_nvfp4 {

class OptimAdamWNvfp4 final : public optim::OptimizerBase {
 public:
  explicit OptimAdamWNvfp4(const Options& options);

  Capability capability(const OptimizerSetup& setup) const noexcept override;
  std::string state_format() const noexcept override;

 protected:
  std::unique_ptr<optim::ParamState> make_state(Parameter& parameter, double weight_decay) override;
  StorageTable forecast_table(std::span<const std::int64_t> shape, Role role, Format format) const override;

 private:
  bool takes_planes(std::span<const std::int64_t> shape) const;

  optim::Hyper hyper_;
  int planes_;
  bool literal_;
};

}  // namespace tetrad::optim_adamw_nvfp4

#include "optim_adamw_nvfp4.h"

#include "optim/dense_kernels.h"
#include "optim/dense_state.h"
#include "optim/hyper_options.h"
#include "optim/weight_values.h"
#include "plane_kernels.h"
#include "plane_state.h"

namespace tetrad::optim_adamw_nvfp4 {

using optim::fail;

OptimAdamWNvfp4::OptimAdamWNvfp4(const Options& options)
    : OptimizerBase(optim::read_offload(options)),
      hyper_(optim::read_hyper(options)),
      planes_(static_cast<int>(options.get<std::int64_t>("planes"))),
      literal_(options.get<bool>("literal")) {
  if (planes_ < 1 || planes_ > nvfp4::kMaxPlanes)
    fail(StatusCode::invalid_option, "planes: " + std::to_string(planes_) + " is not 1, 2 or 3");
}

Capability OptimAdamWNvfp4::capability(const OptimizerSetup& setup) const noexcept {
  return optim::device_capability(setup, plane_kernels() != nullptr, "adamw-nvfp4", offloads());
}

std::string OptimAdamWNvfp4::state_format() const noexcept {
  return "optim-adamw-nvfp4/2 planes/" + std::to_string(planes_) + " literal/" + (literal_ ? "1" : "0") +
         " draws/" + std::to_string(nvfp4::kDrawLayout);
}

bool OptimAdamWNvfp4::takes_planes(std::span<const std::int64_t> shape) const {
  return shape.size() > 1 || literal_;
}

std::unique_ptr<optim::ParamState> OptimAdamWNvfp4::make_state(Parameter& parameter, double weight_decay) {
  if (parameter.shape.size() > 2)
    fail(StatusCode::unsupported, "'" + parameter.name + "' has " + std::to_string(parameter.shape.size()) +
                                      " dimensions; NVFP4 planes are made of matrices and vectors");
  if (takes_planes(parameter.shape)) {
    if (convert_to_planes(parameter, planes_)) ++parameter.version;
    return std::make_unique<PlaneState>(parameter, weight_decay, hyper_, planes_);
  }
  if (optim::plane_count(parameter.format) > 0)
    fail(StatusCode::unsupported,
         "'" + parameter.name + "' is stored in NVFP4 planes, which only literal: true keeps for vectors");
  if (parameter.format != Format::fp32) {
    parameter.dense = parameter.dense.to(at::kFloat);
    parameter.format = Format::fp32;
    ++parameter.version;
  }
  return std::make_unique<optim::DenseState>(parameter, weight_decay, hyper_, optim::DenseChoice{});
}

StorageTable OptimAdamWNvfp4::forecast_table(std::span<const std::int64_t> shape, Role /*role*/,
                                             Format /*format*/) const {
  if (takes_planes(shape)) return PlaneState::table_of(shape, planes_);
  return optim::DenseState::table_of(shape, Format::fp32, optim::DenseChoice{});
}

}  // namespace tetrad::optim_adamw_nvfp4

#include "optim_adamw.h"

#include "optim/dense_kernels.h"
#include "optim/hyper_options.h"
#include "optim/weight_values.h"

namespace tetrad::optim_adamw {

using optim::DenseRounding;
using optim::fail;

OptimAdamW::OptimAdamW(const Options& options)
    : OptimizerBase(optim::read_offload(options)), hyper_(optim::read_hyper(options)) {
  const std::string& master = options.get<std::string>("master");
  choice_.master = master == "fp32";
  choice_.rounding = master == "none" ? DenseRounding::stochastic : DenseRounding::nearest;
  choice_.gradient =
      options.get<std::string>("gradient") == "bf16" ? GradientFormat::bf16 : GradientFormat::fp32;
}

Capability OptimAdamW::capability(const OptimizerSetup& setup) const noexcept {
  return optim::device_capability(setup, optim::cuda_dense_kernel() != nullptr, "adamw-fp32", offloads());
}

std::string OptimAdamW::state_format() const noexcept {
  return "optim-adamw/1 draws/" + std::to_string(nvfp4::kDrawLayout);
}

void OptimAdamW::check_format(const std::string& name, Format format) const {
  if (optim::plane_count(format) > 0 || format == Format::opaque)
    fail(StatusCode::unsupported,
         name + " is stored as " + format_name(format) +
             "; this optimizer updates fp32, bf16 and fp16 weights. Load a checkpoint in "
             "bf16, or take optim-adamw-nvfp4");
  if (format == Format::fp16 && !choice_.master)
    fail(StatusCode::unsupported, name +
                                      " is fp16, which has no steps small enough to be updated in place; "
                                      "take master: fp32, or bf16 weights");
}

std::unique_ptr<optim::ParamState> OptimAdamW::make_state(Parameter& parameter, double weight_decay) {
  check_format("'" + parameter.name + "'", parameter.format);
  return std::make_unique<optim::DenseState>(parameter, weight_decay, hyper_, choice_);
}

StorageTable OptimAdamW::forecast_table(std::span<const std::int64_t> shape, Role /*role*/,
                                        Format format) const {
  check_format("the parameter", format);
  return optim::DenseState::table_of(shape, format, choice_);
}

}  // namespace tetrad::optim_adamw

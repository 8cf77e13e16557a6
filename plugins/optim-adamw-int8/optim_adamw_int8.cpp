#include "optim_adamw_int8.h"

#include <ATen/ops/tensor.h>

#include "int8_kernels.h"
#include "optim/dense_kernels.h"
#include "optim/hyper_options.h"
#include "optim/weight_values.h"

namespace tetrad::optim_adamw_int8 {
namespace {

constexpr std::int64_t kLeastElements = 4096;

bool in_8_bits(std::span<const std::int64_t> shape) {
  return shape.size() > 1 && optim::element_count(shape) >= kLeastElements;
}

void check_format(const std::string& name, Format format) {
  if (format == Format::fp32 || format == Format::bf16) return;
  optim::fail(StatusCode::unsupported,
              name + " is stored as " + format_name(format) +
                  "; this optimizer updates fp32 and bf16 weights. Load a checkpoint in "
                  "bf16, or take optim-adamw-nvfp4 for NVFP4 planes");
}

at::Tensor map_tensor(bool with_sign, at::Device device) {
  const DynamicMap map = dynamic_map(with_sign);
  return at::tensor(at::ArrayRef<float>(map.data(), map.size()), at::kFloat).to(device);
}

}  // namespace

OptimAdamWInt8::OptimAdamWInt8(const Options& options)
    : OptimizerBase(optim::read_offload(options)), hyper_(optim::read_hyper(options)) {
  choice_.rounding = options.get<std::string>("rounding") == "stochastic" ? optim::DenseRounding::stochastic
                                                                          : optim::DenseRounding::nearest;
  choice_.gradient =
      options.get<std::string>("gradient") == "bf16" ? GradientFormat::bf16 : GradientFormat::fp32;
}

Capability OptimAdamWInt8::capability(const OptimizerSetup& setup) const noexcept {
  return optim::device_capability(setup, cuda_int8_kernel() != nullptr, "adamw-int8", offloads());
}

std::string OptimAdamWInt8::state_format() const noexcept {
  return "optim-adamw-int8/1 block/" + std::to_string(kBlock) + " draws/" +
         std::to_string(nvfp4::kDrawLayout);
}

optim::DenseChoice OptimAdamWInt8::small() const {
  return {false, choice_.rounding, choice_.gradient};
}

std::unique_ptr<optim::ParamState> OptimAdamWInt8::make_state(Parameter& parameter, double weight_decay) {
  check_format("'" + parameter.name + "'", parameter.format);
  if (!in_8_bits(parameter.shape))
    return std::make_unique<optim::DenseState>(parameter, weight_decay, hyper_, small());
  if (!m_map_.defined()) {
    m_map_ = map_tensor(true, parameter.dense.device());
    v_map_ = map_tensor(false, parameter.dense.device());
  }
  return std::make_unique<Int8State>(parameter, weight_decay, hyper_, choice_, m_map_, v_map_);
}

StorageTable OptimAdamWInt8::forecast_table(std::span<const std::int64_t> shape, Role /*role*/,
                                            Format format) const {
  check_format("the parameter", format);
  if (in_8_bits(shape)) return Int8State::table_of(shape, format, choice_);
  return optim::DenseState::table_of(shape, format, small());
}

}  // namespace tetrad::optim_adamw_int8

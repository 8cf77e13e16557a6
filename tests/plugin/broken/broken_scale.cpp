// A linear backend in which one block scale (or all those of one row) of one matrix is half of what it should
// be: one step of the scale's exponent.
#include <tetrad/base/plugin.h>
#include <tetrad/torch/guarded.h>

#include <ATen/ops/clamp.h>

#include "wrapped_linear.h"

namespace {

using tetrad::Options;
using tetrad::Parameter;
using tetrad::Status;
using tetrad::StatusCode;
using tetrad::StatusError;
using tetrad::WeightId;

class BrokenScale final : public tetrad::broken::WrappedLinear {
 public:
  explicit BrokenScale(const Options& options)
      : WrappedLinear(options),
        name_(tetrad::broken::matrix_name(options.get<std::int64_t>("layer"),
                                          options.get<std::string>("matrix"))),
        row_(options.get<std::int64_t>("row")),
        block_(options.get<std::int64_t>("block")) {}

  Status prepare(Parameter& parameter, WeightId& weight) noexcept override {
    const bool target = parameter.name == name_;
    // Dense values: halving a block halves the scale that it will get. Planes: the scale itself.
    const bool dense = parameter.dense.defined();
    Status status = target && dense ? tetrad::torch_guarded([&] { halve_values(parameter); }) : Status{};
    if (!status.ok()) return status;
    status = WrappedLinear::prepare(parameter, weight);
    if (status.ok() && target && !dense) status = tetrad::torch_guarded([&] { halve_scales(parameter); });
    return status;
  }

 private:
  at::Tensor blocks(const at::Tensor& row, std::int64_t width) const {
    return block_ < 0 ? row : row.narrow(0, block_ * width, width);
  }
  void check(const Parameter& parameter) const {
    if (row_ < 0 || row_ >= parameter.shape[0] || block_ >= parameter.shape[1] / 16)
      throw StatusError(StatusCode::invalid_option, "'" + name_ + "' has no such row or block");
  }
  void halve_values(Parameter& parameter) const {
    check(parameter);
    blocks(parameter.dense.select(0, row_), 16).mul_(0.5);
  }
  void halve_scales(Parameter& parameter) const {
    check(parameter);
    // E4M3: three bits of mantissa below the exponent.
    const at::Tensor scales = blocks(parameter.planes.scales.select(0, row_), 1);
    scales.copy_(at::clamp(scales.to(at::kInt).sub_(8), 0));
  }

  std::string name_;
  std::int64_t row_, block_;
};

}  // namespace

TETRAD_PLUGIN(tetrad::Provides<"linear", tetrad::LinearBackend, BrokenScale>);

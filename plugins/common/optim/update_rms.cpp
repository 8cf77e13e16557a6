#include "optim/update_rms.h"

#include <ATen/ops/clamp_max.h>
#include <ATen/ops/clamp_min.h>
#include <ATen/ops/reciprocal.h>
#include <ATen/ops/sqrt.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>

#include "optim/weight_values.h"

namespace tetrad::optim {
namespace {

constexpr std::int64_t kStrip = std::int64_t{1} << 21;  // elements: temporaries of 8 MiB
constexpr double kLeastRms = 1e-30;                     // a gradient of zeros is not limited

// fp32 [n, cols]: rows [first, first + n) of the gradient.
at::Tensor gradient_rows(const Gradient& gradient, Extent extent, std::int64_t first, std::int64_t n) {
  if (gradient.dense.defined())
    return gradient.dense.view({extent.rows, extent.cols}).narrow(0, first, n).to(at::kFloat);
  const Planes& planes = gradient.planes;
  const at::Tensor values = decode_plane(planes.codes.narrow(0, first, n), planes.scales.narrow(0, first, n))
                                .narrow(1, 0, extent.cols);
  return gradient.decode_scale.defined() ? values.mul(gradient.decode_scale)
                                         : values.mul(static_cast<double>(planes.decode_scale));
}

}  // namespace

at::Tensor update_rms(const ParamState& state, const Gradient& gradient, const at::Tensor& scale,
                      std::int64_t step) {
  const Hyper hyper = state.hyper();
  const Extent extent = extent_of(state.parameter().shape);
  const double corrected = 1.0 / (1.0 - std::pow(hyper.beta2, static_cast<double>(step)));
  const std::int64_t strip = std::max<std::int64_t>(1, kStrip / extent.cols);
  at::Tensor total;
  for (std::int64_t first = 0; first < extent.rows; first += strip) {
    const std::int64_t n = std::min(strip, extent.rows - first);
    at::Tensor squares = gradient_rows(gradient, extent, first, n);
    if (scale.defined()) squares = squares.mul(scale);
    squares = squares.mul(squares);
    const at::Tensor v =
        state.decoded_v(first, n).mul(hyper.beta2 * corrected).add_(squares, (1.0 - hyper.beta2) * corrected);
    const at::Tensor sum = at::sum(squares.div_(v.clamp_min_(hyper.eps * hyper.eps)), at::kFloat);
    total = total.defined() ? total.add(sum) : sum;
  }
  return at::sqrt(total.mul(1.0 / static_cast<double>(extent.rows * extent.cols))).reshape({1});
}

at::Tensor limited_scale(const at::Tensor& scale, const at::Tensor& rms, double most) {
  const at::Tensor factor = at::clamp_max(at::reciprocal(at::clamp_min(rms, kLeastRms)).mul_(most), 1.0);
  return scale.defined() ? factor.mul(scale) : factor;
}

}  // namespace tetrad::optim

// The root mean square of what a gradient alone would move a parameter by, in units of the learning rate, as
// StepFactors::max_update_rms limits it; and the factor that does so. In ATen operations over strips of rows,
// on any device; nothing synchronises.
#pragma once

#include <ATen/core/Tensor.h>

#include "optim/param_state.h"

namespace tetrad::optim {

// fp32 [1]: sqrt(mean(g^2 / max(v', eps^2))), v' = (beta2 v + (1 - beta2) g^2) / (1 - beta2^step), with g the
// gradient times `scale` (fp32 [1], or undefined for 1). NaN where the gradient is not finite.
at::Tensor update_rms(const ParamState& state, const Gradient& gradient, const at::Tensor& scale,
                      std::int64_t step);

// fp32 [1]: `scale` times min(1, most / rms).
at::Tensor limited_scale(const at::Tensor& scale, const at::Tensor& rms, double most);

}  // namespace tetrad::optim

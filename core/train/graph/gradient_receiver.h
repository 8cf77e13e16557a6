// Where the backward pass puts weight gradients as they arise, so that none is kept longer than it must be.
// Each parameter receives exactly Parameter::gradient_contributions calls in one backward pass, and the last
// of them after the last use of its value in that pass: the receiver may update the parameter there and then.
#pragma once

#include <ATen/core/Tensor.h>
#include <tetrad/torch/parameter.h>

namespace tetrad::train {

class GradientReceiver {
 public:
  virtual ~GradientReceiver() = default;
  // dw: of the parameter's shape; the receiver may keep and change it.
  virtual void add(const Parameter& parameter, at::Tensor dw) = 0;
  // A gradient that is zero but for some rows: ids int64 [U] ascending and unique, rows [U, K].
  virtual void add_rows(const Parameter& parameter, const at::Tensor& ids, const at::Tensor& rows) = 0;
};

}  // namespace tetrad::train

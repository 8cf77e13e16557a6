#include "model/weight_bytes.h"

namespace tetrad::model {

WeightBytes weight_bytes(const Parameter& parameter) noexcept {
  const auto bytes = [](const at::Tensor& t) {
    return t.defined() ? static_cast<std::int64_t>(t.nbytes()) : std::int64_t{0};
  };
  const Planes& planes = parameter.planes;
  return {bytes(parameter.dense),
          bytes(planes.codes) + bytes(planes.scales) + bytes(planes.lo_codes) + bytes(planes.lo2_codes)};
}

WeightBytes weight_bytes(const std::deque<Parameter>& parameters) noexcept {
  WeightBytes sum;
  for (const Parameter& parameter : parameters) {
    const WeightBytes one = weight_bytes(parameter);
    sum.dense += one.dense;
    sum.planes += one.planes;
  }
  return sum;
}

}  // namespace tetrad::model

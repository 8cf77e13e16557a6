#include "train/trainer/fresh_planes.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <tetrad/nvfp4/plane_codec.h>

#include <algorithm>
#include <vector>

namespace tetrad::train {

bool encode_anew(Parameter& parameter) {
  Planes& planes = parameter.planes;
  if (!planes.lo_codes.defined()) return false;
  const std::int64_t rows = planes.codes.size(0),
                     cols = parameter.shape.size() == 1 ? parameter.numel() : parameter.shape.back();
  const at::Tensor* const stored[] = {&planes.codes, &planes.scales, &planes.lo_codes, &planes.lo2_codes};
  std::vector<at::Tensor> host;  // copies, also on the CPU: blocks are read before they are written
  for (const at::Tensor* each : stored)
    host.push_back(each->defined() ? each->to(at::kCPU, /*non_blocking=*/false, /*copy=*/true)
                                   : at::Tensor());
  const auto row_of = [&](std::size_t i, std::int64_t row) -> std::uint8_t* {
    return host[i].defined() ? host[i].mutable_data_ptr<std::uint8_t>() + row * host[i].size(1) : nullptr;
  };
  const float decode = planes.decode_scale;
  at::parallel_for(
      0, rows, std::max<std::int64_t>(1, 32768 / cols), [&](std::int64_t begin, std::int64_t end) {
        std::vector<float> values(static_cast<std::size_t>(cols));
        for (std::int64_t row = begin; row < end; ++row) {
          const nvfp4::PlanesOut at{row_of(0, row), row_of(1, row), row_of(2, row), row_of(3, row)};
          nvfp4::dequantize_planes(nvfp4::PlanesView{at.codes, at.scales, at.lo, at.lo2}, decode,
                                   nvfp4::PlaneValue::exact, 1, cols, values.data());
          nvfp4::quantize_planes(values.data(), 1, cols, cols, {1.0F / decode, decode}, {}, at);
        }
      });
  for (std::size_t i = 0; i < host.size(); ++i)
    if (host[i].defined()) stored[i]->copy_(host[i]);
  ++parameter.version;
  return true;
}

std::int64_t encode_anew(std::deque<Parameter>& parameters, const OptimizerStates& states) {
  std::int64_t count = 0;
  for (Parameter& parameter : parameters)
    if (states.trains(parameter) && encode_anew(parameter)) ++count;
  return count;
}

}  // namespace tetrad::train

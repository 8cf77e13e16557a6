// The planes of some rows of a weight as tensors, as the codec's callers hand them around.
#pragma once

#include <ATen/core/Tensor.h>
#include <tetrad/nvfp4/plane_codec.h>

namespace tetrad::backend_nvfp4 {

struct PlaneTensors {
  at::Tensor codes;   // uint8 [R, Kp / 2]
  at::Tensor scales;  // uint8 [R, Kp / 16]
  at::Tensor lo;      // uint8 [R, Kp / 2], or undefined: one plane
  at::Tensor lo2;     // uint8 [R, Kp / 2], or undefined: two planes

  PlaneTensors rows(std::int64_t first, std::int64_t count) const {
    const auto some = [&](const at::Tensor& t) { return t.defined() ? t.narrow(0, first, count) : t; };
    return {some(codes), some(scales), some(lo), some(lo2)};
  }
  nvfp4::PlanesView view() const {
    const auto bytes = [](const at::Tensor& t) {
      return t.defined() ? static_cast<const std::uint8_t*>(t.const_data_ptr()) : nullptr;
    };
    return {bytes(codes), bytes(scales), bytes(lo), bytes(lo2)};
  }
};

}  // namespace tetrad::backend_nvfp4

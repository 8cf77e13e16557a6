// The codec in plain ATen operations, for weights on a device that the CPU codec cannot reach: profile te,
// blocks of 1 x 16. Each step is one fp32 operation in the order of tetrad/nvfp4/profile.h, in an operator of
// its own, so nothing is contracted or reordered and the results are bit for bit the CPU codec's. Runs on CPU
// tensors too (the tests do). Input must be finite: callers ask aten_amax first.
#pragma once

#include <ATen/core/Tensor.h>
#include <tetrad/nvfp4/codec.h>

#include "plane_tensors.h"

namespace tetrad::backend_nvfp4 {

// One read by the host; first_bad is 0 when anything is not finite.
nvfp4::Amax aten_amax(const at::Tensor& w);

class AtenCodec {
 public:
  explicit AtenCodec(at::Device device);

  // Shapes and meaning as in tensor_codec.h.
  void quantize(const at::Tensor& w, nvfp4::GlobalScale global, const at::Tensor& codes,
                const at::Tensor& scales) const;
  void dequantize(const PlaneTensors& planes, float scale, const at::Tensor& out) const;
  void requantize(const at::Tensor& w, nvfp4::GlobalScale global, float scale, const at::Tensor& out) const;

 private:
  struct Blocks {
    at::Tensor scale;      // float8_e4m3fn [R, Kp / 16]
    at::Tensor scaled;     // fp32 [R, Kp / 16, 16]: elements times their block's factor
    at::Tensor magnitude;  // int32, same shape: index of |e2m1|
  };
  Blocks encode(const at::Tensor& w, nvfp4::GlobalScale global) const;

  at::Tensor bounds_;      // fp32 [7]: the least value that rounds to magnitude code i + 1
  at::Tensor magnitudes_;  // fp32 [8]: the values of magnitude codes 0..7
  at::Tensor pairs_;       // fp32 [256, 2]: the two values of a byte of codes
};

}  // namespace tetrad::backend_nvfp4

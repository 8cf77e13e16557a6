// The NVFP4 codec on tensors: amax, quantise, dequantise (one plane, or hi and its tied residuals), and
// quantise and dequantise at once, on rows [R, K] of a weight. On the CPU the rows go in parallel through
// tetrad/nvfp4 (or through its plain reference when asked); on a CUDA device the same arithmetic runs in
// kernels (device_kernels.h) or, without them, in ATen operations (aten_codec.h). Blocks are 1 x 16 along a
// row, so rows are independent of each other once the tensor's global scale is known, and any split of a
// tensor by rows gives the same bytes.
#pragma once

#include <ATen/core/Tensor.h>
#include <tetrad/nvfp4/codec.h>

#include <cstdint>
#include <optional>

#include "aten_codec.h"
#include "device_kernels.h"

namespace tetrad::backend_nvfp4 {

// Activations as codes: uint8 [T, Kp / 2], uint8 [T, Kp / 16], fp32 [1].
struct PackedActivations {
  at::Tensor codes, scales, decode;
};

class TensorCodec {
 public:
  TensorCodec(const nvfp4::EncodeOptions& encode, bool reference, at::Device device);

  // max |w| and the flat index of the first non-finite element (-1: none; on CUDA the index is always 0).
  nvfp4::Amax amax(const at::Tensor& w) const;

  // w [R, K] fp32, bf16 or fp16, contiguous, finite -> codes [R, Kp / 2], scales [R, Kp / 16], given, on w's
  // device.
  void quantize(const at::Tensor& w, nvfp4::GlobalScale global, const at::Tensor& codes,
                const at::Tensor& scales) const;
  // out [R, K] = (code [+ lo code / 4 [+ lo2 code / 16]]) * block scale * scale; out's dtype, contiguous;
  // 16-bit outputs take a power of two.
  void dequantize(const PlaneTensors& planes, float scale, const at::Tensor& out) const;
  // out [T, K] = the rows `ids` (int64 [T]) of the planes, as dequantize gives them.
  void gather(const PlaneTensors& planes, const at::Tensor& ids, float scale, const at::Tensor& out) const;
  // dequantize(quantize(w)), without storing the codes.
  void requantize(const at::Tensor& w, nvfp4::GlobalScale global, float scale, const at::Tensor& out) const;

  // x [T, K], bf16 or fp32, to NVFP4 and back, in x's dtype and exact in it: profile te, blocks of 1 x 16,
  // the power-of-two global scale of x's own amax, found on x's device without a synchronisation. Values that
  // are not finite come back as a block of NaN. On a device this needs kernels.
  at::Tensor activations(const at::Tensor& x) const;
  // The same as codes.
  PackedActivations packed_activations(const at::Tensor& x) const;
  // Block scales [R, Kp / 16] in tiles of 128 x 4, flat (tetrad/nvfp4/scale_layout.h).
  at::Tensor swizzle(const at::Tensor& scales) const;

 private:
  nvfp4::EncodeOptions encode_;
  bool reference_;
  const DeviceKernels* kernels_ = nullptr;  // on a device that is not the CPU, where this file has them,
  std::optional<AtenCodec> aten_;           // or this
};

// Threads that one parallel loop of this plugin is seen to use: 1 on a machine with several means that the
// file was built without OpenMP, which libtorch's parallel_for does not report.
int threads_seen();

}  // namespace tetrad::backend_nvfp4

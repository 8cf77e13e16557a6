// What backend-nvfp4 asks of a device that is not the CPU: the codec on tensors and the packed product. Two
// definitions of device_kernels() exist: backend-nvfp4.so's gives null (weights on a device are then encoded
// and decoded in ATen operations), backend-nvfp4.cuda.so's gives the CUDA kernels of tetrad/nvfp4. Everything
// is enqueued on the current stream of the tensors' device; nothing synchronises or falls back to the CPU.
#pragma once

#include <ATen/core/Tensor.h>
#include <tetrad/nvfp4/codec.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "plane_tensors.h"

namespace tetrad::backend_nvfp4 {

struct PackedWeight {
  PlaneTensors planes;
  float decode_scale = 1.0F;
};

class DeviceKernels {
 public:
  virtual ~DeviceKernels() = default;

  // Shapes and meaning as in tensor_codec.h.
  virtual void quantize(const at::Tensor& w, nvfp4::GlobalScale global, const nvfp4::EncodeOptions& encode,
                        const at::Tensor& codes, const at::Tensor& scales) const = 0;
  virtual void dequantize(const PlaneTensors& planes, float scale, const at::Tensor& out) const = 0;
  virtual void gather(const PlaneTensors& planes, const at::Tensor& ids, float scale,
                      const at::Tensor& out) const = 0;
  virtual void requantize(const at::Tensor& w, nvfp4::GlobalScale global, float scale,
                          const at::Tensor& out) const = 0;

  // TensorCodec::activations and packed_activations on contiguous x; the second returns the decode scale,
  // fp32 [1]. The global scale never leaves the device.
  virtual void requantize_activations(const at::Tensor& x, const at::Tensor& out) const = 0;
  virtual at::Tensor quantize_activations(const at::Tensor& x, const at::Tensor& codes,
                                          const at::Tensor& scales) const = 0;
  virtual void swizzle(const at::Tensor& scales, const at::Tensor& out) const = 0;
  // Why `device` has no products of two FP4 operands, with what it is; empty: it has.
  virtual std::string why_no_fp4(at::Device device) const = 0;

  // Whether packed_products takes `rows` rows of x in this dtype for weights with so many residual planes.
  virtual bool takes_packed(std::int64_t rows, at::ScalarType dtype, int residuals) const noexcept = 0;
  // y[i] = x * W[i]^T [rows, N_i] in x's dtype, for weights that share x.
  virtual std::vector<at::Tensor> packed_products(std::span<const PackedWeight> weights,
                                                  const at::Tensor& x) const = 0;
};

const DeviceKernels* device_kernels() noexcept;

}  // namespace tetrad::backend_nvfp4

// What backend-nvfp4 asks of a device that is not the CPU: the codec on tensors and the packed product. Two
// definitions of device_kernels() exist: backend-nvfp4.so's gives null (weights on a device are then encoded
// and decoded in ATen operations), backend-nvfp4.cuda.so's gives the CUDA kernels of tetrad/nvfp4. Everything
// is enqueued on the current stream of the tensors' device; nothing synchronises or falls back to the CPU.
#pragma once

#include <ATen/core/Tensor.h>
#include <tetrad/nvfp4/codec.h>
#include <tetrad/torch/parameter.h>

#include <cstdint>
#include <span>
#include <vector>

namespace tetrad::backend_nvfp4 {

class DeviceKernels {
 public:
  virtual ~DeviceKernels() = default;

  // Shapes and meaning as in tensor_codec.h.
  virtual void quantize(const at::Tensor& w, nvfp4::GlobalScale global, const nvfp4::EncodeOptions& encode,
                        const at::Tensor& codes, const at::Tensor& scales) const = 0;
  virtual void dequantize(const at::Tensor& codes, const at::Tensor& scales, float scale,
                          const at::Tensor& out) const = 0;
  virtual void requantize(const at::Tensor& w, nvfp4::GlobalScale global, float scale,
                          const at::Tensor& out) const = 0;

  // Whether packed_products takes `rows` rows of x in this dtype.
  virtual bool takes_packed(std::int64_t rows, at::ScalarType dtype) const noexcept = 0;
  // y[i] = x * W[i]^T [rows, N_i] in x's dtype, for planes that share x.
  virtual std::vector<at::Tensor> packed_products(std::span<const Parameter* const> weights,
                                                  const at::Tensor& x) const = 0;
};

const DeviceKernels* device_kernels() noexcept;

}  // namespace tetrad::backend_nvfp4

// The kernels of a training step on a CUDA device, behind tensors: the part of CudaOps (cuda_ops.h) that only
// training needs. What they compute is said in core/ops, which calls them, and where they round in
// ops/cuda/train_kernels.h. Tensors are on one device, contiguous, 16 bits an element unless said otherwise.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace tetrad::device {

// Heads before and after their norm and rotation; [tokens, heads, dim] all of them.
struct TrainRotation {
  at::Tensor q, k;                // before
  at::Tensor q_weight, k_weight;  // [dim], or undefined: no norm
  double eps = 0.0;
  at::Tensor cos, sin;   // [positions, dim / 2]
  at::Tensor positions;  // int64 [tokens]
  at::Tensor q_out, k_out;
  // Backward: gradients of what the forward made; q_out and k_out then take those of q and k, and these, fp32
  // [dim], those of the weights that there are.
  at::Tensor dq, dk, dq_weight, dk_weight;
};

class CudaTrainOps {
 public:
  virtual ~CudaTrainOps() = default;

  // Whether rms_norm_backward takes rows of n elements.
  virtual bool takes_norm_backward(std::int64_t n) = 0;
  // dy, x [..., N], weight [N]; passing [..., N] or undefined; dx like x, dweight fp32 [N].
  virtual void rms_norm_backward(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& weight,
                                 double eps, const at::Tensor& passing, const at::Tensor& dx,
                                 const at::Tensor& dweight) = 0;
  // In place: dh becomes silu(gate) * up, gate dgate, up dup.
  virtual void silu_mul_backward(const at::Tensor& dh, const at::Tensor& gate, const at::Tensor& up) = 0;

  virtual bool takes_rotation(std::int64_t dim) = 0;
  virtual void rotate(const TrainRotation& rotation) = 0;
  virtual void rotate_backward(const TrainRotation& rotation) = 0;

  // logits [M, n]; targets int64 [M]; the running figures fp32 [M].
  virtual void cross_entropy_observe(const at::Tensor& logits, const at::Tensor& targets, std::int64_t first,
                                     const at::Tensor& largest, const at::Tensor& sum,
                                     const at::Tensor& at_target) = 0;
  // In place on the logits.
  virtual void cross_entropy_gradient(const at::Tensor& logits, const at::Tensor& targets, std::int64_t first,
                                      const at::Tensor& largest, const at::Tensor& sum, double scale) = 0;

  // CudaOps::quantize_nvfp4 together with the values' norm, sqrt(sum of squares): fp32 on the device.
  struct Stored {
    at::Tensor decode_scale;  // [1]
    at::Tensor norm;          // []
  };
  virtual Stored measure_and_quantize(const at::Tensor& values, const at::Tensor& codes,
                                      const at::Tensor& scales) = 0;
};

}  // namespace tetrad::device

// CudaTrainOps in libtetrad_cuda.so.
#pragma once

#include "device/cuda_train_ops.h"

namespace tetrad::device {

class TorchCudaTrainOps final : public CudaTrainOps {
 public:
  bool takes_norm_backward(std::int64_t n) override;
  void rms_norm_backward(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& weight, double eps,
                         const at::Tensor& passing, const at::Tensor& dx, const at::Tensor& dweight) override;
  void silu_mul_backward(const at::Tensor& dh, const at::Tensor& gate, const at::Tensor& up) override;
  bool takes_rotation(std::int64_t dim) override;
  void rotate(const TrainRotation& rotation) override;
  void rotate_backward(const TrainRotation& rotation) override;
  void cross_entropy_observe(const at::Tensor& logits, const at::Tensor& targets, std::int64_t first,
                             const at::Tensor& largest, const at::Tensor& sum,
                             const at::Tensor& at_target) override;
  void cross_entropy_gradient(const at::Tensor& logits, const at::Tensor& targets, std::int64_t first,
                              const at::Tensor& largest, const at::Tensor& sum, double scale) override;
  Stored measure_and_quantize(const at::Tensor& values, const at::Tensor& codes,
                              const at::Tensor& scales) override;
};

}  // namespace tetrad::device

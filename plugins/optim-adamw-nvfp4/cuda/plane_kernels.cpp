// plane_kernels() of optim-adamw-nvfp4.cuda.so.
#include "plane_kernels.h"

#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <tetrad/nvfp4/cuda.h>

#include "cuda/plane_update_cuda.h"

namespace tetrad::optim_adamw_nvfp4 {
namespace {

class CudaKernels final : public PlaneKernels {
 public:
  void update(const PlaneArgs& args, int planes, int device) const override {
    const auto index = static_cast<c10::DeviceIndex>(device);
    const c10::cuda::CUDAGuard on(index);
    cuda::plane_update(args, planes, c10::cuda::getCurrentCUDAStream(index).stream());
  }

  void amax(const at::Tensor& g, const at::Tensor& amax) const override {
    const c10::cuda::CUDAGuard on(g.device());
    const auto stream = c10::cuda::getCurrentCUDAStream(g.device().index()).stream();
    amax.zero_();
    auto* bits = static_cast<std::uint32_t*>(amax.mutable_data_ptr());
    const std::int64_t n = g.numel();  // contiguous: the shape does not matter
    if (g.scalar_type() == at::kFloat)
      nvfp4::cuda::amax(static_cast<const float*>(g.const_data_ptr()), 1, n, n, bits, stream);
    else
      nvfp4::cuda::amax(static_cast<const nvfp4::Bf16*>(g.const_data_ptr()), 1, n, n, bits, stream);
  }
};

}  // namespace

const PlaneKernels* plane_kernels() noexcept {
  static const CudaKernels kernels;
  return &kernels;
}

}  // namespace tetrad::optim_adamw_nvfp4

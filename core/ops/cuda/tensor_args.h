// From tensors to what kernels take: element type, pointers and stream.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>
#include <tetrad/base/error.h>
#include <tetrad/nvfp4/half.h>

#include <string>

namespace tetrad::device {

// f(null pointer of the element type): Bf16 or Fp16.
template <class F>
void with_type(const at::Tensor& t, F&& f) {
  if (t.scalar_type() == at::kBFloat16)
    f(static_cast<nvfp4::Bf16*>(nullptr));
  else if (t.scalar_type() == at::kHalf)
    f(static_cast<nvfp4::Fp16*>(nullptr));
  else
    throw Error(std::string("[ops] CUDA kernels take bfloat16 and float16, not ") +
                c10::toString(t.scalar_type()));
}

template <class T>
const T* read_as(const at::Tensor& t) {
  return t.defined() ? static_cast<const T*>(t.const_data_ptr()) : nullptr;
}
template <class T>
T* write_as(const at::Tensor& t) {
  return static_cast<T*>(t.mutable_data_ptr());
}

inline cudaStream_t stream_of(const at::Tensor& t) {
  return c10::cuda::getCurrentCUDAStream(t.device().index()).stream();
}

inline void check(cudaError_t status, const char* what) {
  if (status != cudaSuccess) throw Error(std::string("[ops] ") + what + ": " + cudaGetErrorString(status));
}

}  // namespace tetrad::device

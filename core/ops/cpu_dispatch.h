// For the ops' .cpp files: whether a tensor is one that the CPU kernels take, and typed pointers into it.
#pragma once

#include <ATen/core/Tensor.h>
#include <tetrad/nvfp4/half.h>

#include <algorithm>
#include <cstdint>

namespace tetrad::ops {

inline bool kernel_dtype(at::ScalarType dtype) {
  return dtype == at::kFloat || dtype == at::kBFloat16;
}

// Contiguous fp32 or bf16 values in host memory.
inline bool for_kernel(const at::Tensor& t) {
  return t.device().is_cpu() && kernel_dtype(t.scalar_type()) && t.is_contiguous();
}

// Calls f with a null pointer of the kernels' element type for `dtype`.
template <class F>
void with_element(at::ScalarType dtype, F&& f) {
  if (dtype == at::kFloat)
    f(static_cast<float*>(nullptr));
  else
    f(static_cast<nvfp4::Bf16*>(nullptr));
}

template <class T>
const T* values(const at::Tensor& t) {
  return static_cast<const T*>(t.const_data_ptr());
}
template <class T>
T* mutable_values(const at::Tensor& t) {
  return static_cast<T*>(t.mutable_data_ptr());
}

// Tokens up to which an op takes its own sums and exponentials: decoding, where calls are what costs. Beyond,
// in a prefill, statistics and exponentials are libtorch's, so that a prefill in bf16 gives transformers'
// logits bit for bit.
inline constexpr std::int64_t kFewRows = 4;

// Rows per task of a loop over rows of n elements: a hand-over to another thread costs about as much as 16 Ki
// elements.
inline std::int64_t row_grain(std::int64_t n) {
  return std::max<std::int64_t>(1, 16384 / std::max<std::int64_t>(n, 1));
}

}  // namespace tetrad::ops

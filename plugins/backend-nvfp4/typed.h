// From a tensor's run-time dtype to the codec's element types, for the sources of backend-nvfp4 that call the
// codec.
#pragma once

#include <ATen/core/Tensor.h>
#include <tetrad/nvfp4/half.h>

#include <string>

#include "common.h"

namespace tetrad::backend_nvfp4 {

// Calls f with a null pointer of the codec's element type for `dtype`.
template <class F>
void with_type(at::ScalarType dtype, F&& f) {
  if (dtype == at::kFloat)
    f(static_cast<float*>(nullptr));
  else if (dtype == at::kBFloat16)
    f(static_cast<nvfp4::Bf16*>(nullptr));
  else if (dtype == at::kHalf)
    f(static_cast<nvfp4::Fp16*>(nullptr));
  else
    fail(StatusCode::unsupported, std::string("cannot encode or decode ") + c10::toString(dtype) +
                                      "; use float32, bfloat16 or float16");
}

template <class T>
const T* read_as(const at::Tensor& t) {
  return static_cast<const T*>(t.const_data_ptr());
}
template <class T>
T* write_as(const at::Tensor& t) {
  return static_cast<T*>(t.mutable_data_ptr());
}

}  // namespace tetrad::backend_nvfp4

// Small helpers that the sources of backend-nvfp4 share: errors with the plugin's tag, and checks of
// operands.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/ScalarType.h>
#include <tetrad/base/status.h>
#include <tetrad/nvfp4/hd.h>
#include <tetrad/torch/linear.h>

#include <string>

namespace tetrad::backend_nvfp4 {

[[noreturn]] inline void fail(StatusCode code, const std::string& text) {
  throw StatusError(code, "[backend-nvfp4] " + text);
}

// "cuda" without an index means whichever device the tensors are on.
inline bool same_device(at::Device device, at::Device setup) {
  return device.type() == setup.type() && (!setup.has_index() || device.index() == setup.index());
}

inline std::string shape_text(at::IntArrayRef sizes) {
  std::string text = "[";
  for (std::size_t i = 0; i < sizes.size(); ++i) text += (i ? ", " : "") + std::to_string(sizes[i]);
  return text + "]";
}

inline std::string tensor_text(const at::Tensor& t) {
  if (!t.defined()) return "an undefined tensor";
  return std::string(c10::toString(t.scalar_type())) + " " + shape_text(t.sizes()) + " on " +
         t.device().str();
}

// An operand [rows, columns] in the setup's dtype and device; libtorch would say less about what is wrong.
inline void check_matrix(const char* what, const at::Tensor& t, std::int64_t columns,
                         const LinearSetup& setup, const Parameter& p) {
  if (t.defined() && t.dim() == 2 && t.size(1) == columns && t.scalar_type() == setup.dtype &&
      same_device(t.device(), setup.device))
    return;
  fail(StatusCode::internal, std::string(what) + " for '" + p.name + "': expected " +
                                 c10::toString(setup.dtype) + " [*, " + std::to_string(columns) + "] on " +
                                 setup.device.str() + ", got " + tensor_text(t));
}

// Whether a decode scale may be multiplied into a weight of this dtype: always in fp32, in 16 bits when it is
// a power of two.
inline bool folds(float scale, at::ScalarType dtype) {
  return dtype == at::kFloat || nvfp4::is_power_of_two(scale);
}

}  // namespace tetrad::backend_nvfp4

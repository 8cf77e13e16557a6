// Small helpers that the sources of backend-nvfp4 share: errors (the host names the plugin), checks of
// operands, and where a global scale goes.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/ScalarType.h>
#include <tetrad/base/status.h>
#include <tetrad/nvfp4/hd.h>
#include <tetrad/torch/linear.h>

#include <string>

namespace tetrad::backend_nvfp4 {

[[noreturn]] inline void fail(StatusCode code, const std::string& text) {
  throw StatusError(code, text);
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

// Whether a decode scale may be multiplied into a weight of this dtype: always in fp32, in 16 bits when that
// rounds nothing. Code * block scale is a multiple of 2^-10 up to 2688, with 6 significant bits: in bf16 any
// power of two of the codec's range keeps it exact, in fp16 (multiples of 2^-24 up to 65504) those from 2^-14
// to 2^4. Each residual plane makes it a multiple of a quarter of that, up to 3528; more bits than the dtype
// has are rounded before the scale comes.
inline bool folds(float scale, at::ScalarType dtype, int residuals = 0) {
  if (dtype == at::kFloat) return true;
  if (!nvfp4::is_power_of_two(scale)) return false;
  const float least = dtype == at::kHalf ? 0x1p-14F : 0x1p-116F;
  return scale >= least * static_cast<float>(1 << (2 * residuals)) &&
         scale <= (dtype == at::kHalf ? 0x1p4F : 0x1p116F);
}

}  // namespace tetrad::backend_nvfp4

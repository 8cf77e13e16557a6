#include "ops/finite.h"

#include "ops/simd_rows.h"

#include <ATen/ops/isfinite.h>

namespace tetrad::ops {

bool all_finite(const at::Tensor& t) {
  if (t.device().is_cpu() && t.scalar_type() == at::kFloat && t.is_contiguous())
    return simd::all_finite(static_cast<const float*>(t.const_data_ptr()), t.numel());
  return at::isfinite(t).all().item<bool>();
}

}  // namespace tetrad::ops

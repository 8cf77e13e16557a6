#include "ops/rope_rows.h"

#include "ops/cpu_dispatch.h"
#include "ops/simd_rows.h"

#include <ATen/Parallel.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/index_select.h>

namespace tetrad::ops {

at::Tensor rotate_rows(const at::Tensor& x, const RopeTable& table, const at::Tensor& positions, Turn turn) {
  const at::Tensor cos = at::index_select(table.cos(), 0, positions);
  at::Tensor sin = at::index_select(table.sin(), 0, positions);
  if (turn == Turn::backward) sin = sin.neg();
  const std::int64_t tokens = x.size(0), heads = x.size(1), half = x.size(2) / 2;
  if (!for_kernel(x) || cos.scalar_type() != x.scalar_type()) {
    const at::Tensor lower = x.narrow(-1, 0, half), upper = x.narrow(-1, half, half);
    return at::cat({lower.mul(cos).sub(upper.mul(sin)), upper.mul(cos).add(lower.mul(sin))}, -1);
  }
  const at::Tensor out = at::empty_like(x);
  with_element(x.scalar_type(), [&](auto* tag) {
    using T = std::remove_pointer_t<decltype(tag)>;
    const T *from = values<T>(x), *c = values<T>(cos), *s = values<T>(sin);
    T* to = mutable_values<T>(out);
    at::parallel_for(0, tokens, row_grain(2 * half * heads), [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t h = first * heads; h < last * heads; ++h)
        simd::rope_head(from + h * 2 * half, c + h / heads * half, s + h / heads * half, half,
                        to + h * 2 * half);
    });
  });
  return out;
}

}  // namespace tetrad::ops

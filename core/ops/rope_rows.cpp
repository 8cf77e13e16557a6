#include "ops/rope_rows.h"

#include "ops/cpu_dispatch.h"

#include <ATen/ops/index_select.h>

namespace tetrad::ops {

at::Tensor rotate_rows(const at::Tensor& x, const RopeTable& table, const at::Tensor& positions, Turn turn) {
  const at::Tensor cos = at::index_select(table.cos(), 0, positions);
  at::Tensor sin = at::index_select(table.sin(), 0, positions);
  if (turn == Turn::backward) sin = sin.neg();
  if (!for_kernel(x) || cos.scalar_type() != x.scalar_type()) return rotate_plain(x, cos, sin);
  return rotate_kernel(x, cos, sin, 0);
}

}  // namespace tetrad::ops

#include "ops/embedding_backward.h"

#include <ATen/ops/index_select.h>
#include <ATen/ops/segment_reduce.h>
#include <ATen/ops/sort.h>
#include <ATen/ops/unique_consecutive.h>

#include <tuple>

namespace tetrad::ops {

EmbeddingGradient embedding_backward(const at::Tensor& dy, const at::Tensor& ids) {
  const auto [sorted, order] = at::sort(ids, /*stable=*/true, /*dim=*/-1, /*descending=*/false);
  const auto [unique, inverse, counts] = at::unique_consecutive(sorted, false, /*return_counts=*/true);
  const at::Tensor rows =
      at::index_select(dy, 0, order).to(dy.scalar_type() == at::kDouble ? at::kDouble : at::kFloat);
  return {unique, at::segment_reduce(rows, "sum", counts, {}, {}, /*axis=*/0, /*unsafe=*/true)};
}

}  // namespace tetrad::ops

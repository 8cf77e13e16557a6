#include "optim/weight_values.h"

#include <ATen/ops/bitwise_and.h>
#include <ATen/ops/bitwise_right_shift.h>
#include <ATen/ops/clone.h>
#include <ATen/ops/count_nonzero.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/ne.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>

namespace tetrad::optim {
namespace {

at::Tensor nibbles(const at::Tensor& codes) {  // [R, C / 2] -> [R, C]
  return at::stack({at::bitwise_and(codes, 15), at::bitwise_right_shift(codes, 4)}, -1)
      .reshape({codes.size(0), codes.size(1) * 2});
}

at::Tensor clone_of(const at::Tensor& t) {
  return t.defined() ? t.clone() : t;
}

}  // namespace

Extent extent_of(std::span<const std::int64_t> shape) {
  Extent extent;
  if (shape.empty()) return extent;
  if (shape.size() == 1) return {1, shape[0]};
  extent.rows = shape[0];
  for (std::size_t i = 1; i < shape.size(); ++i) extent.cols *= shape[i];
  return extent;
}

int plane_count(Format format) noexcept {
  switch (format) {
    case Format::nvfp4_hi:
      return 1;
    case Format::nvfp4_hi_lo:
      return 2;
    case Format::nvfp4_hi_lo_lo2:
      return 3;
    case Format::fp32:
    case Format::bf16:
    case Format::fp16:
    case Format::opaque:
      break;
  }
  return 0;
}

at::Tensor decode_plane(const at::Tensor& codes, const at::Tensor& scales) {
  static constexpr float kValues[16] = {0, .5, 1, 1.5, 2, 3, 4, 6, -0.F, -.5, -1, -1.5, -2, -3, -4, -6};
  const at::Tensor table = at::tensor(at::ArrayRef<float>(kValues, 16), at::kFloat).to(codes.device());
  const at::Tensor q = table.index_select(0, nibbles(codes).flatten().to(at::kInt));
  const at::Tensor s = scales.view(at::kFloat8_e4m3fn).to(at::kFloat);
  return q.view({codes.size(0), scales.size(1), 16}).mul_(s.unsqueeze(-1)).view({codes.size(0), -1});
}

at::Tensor StoredWeight::values(Extent extent, std::int64_t first, std::int64_t n) const {
  if (dense.defined()) return dense.view({extent.rows, extent.cols}).narrow(0, first, n).to(at::kFloat);
  const at::Tensor scales = planes.scales.narrow(0, first, n);
  at::Tensor sum = decode_plane(planes.codes.narrow(0, first, n), scales);
  if (planes.lo_codes.defined()) sum.add_(decode_plane(planes.lo_codes.narrow(0, first, n), scales), 0.25);
  if (planes.lo2_codes.defined())
    sum.add_(decode_plane(planes.lo2_codes.narrow(0, first, n), scales), 0.0625);
  return sum.mul_(planes.decode_scale).narrow(1, 0, extent.cols);
}

StoredWeight view_of(const Parameter& parameter) {
  return {parameter.format, parameter.dense, parameter.planes};
}

StoredWeight copy_of(const Parameter& parameter) {
  StoredWeight copy = view_of(parameter);
  copy.dense = clone_of(copy.dense);
  copy.planes.codes = clone_of(copy.planes.codes);
  copy.planes.scales = clone_of(copy.planes.scales);
  copy.planes.lo_codes = clone_of(copy.planes.lo_codes);
  copy.planes.lo2_codes = clone_of(copy.planes.lo2_codes);
  return copy;
}

WeightChange compare(const StoredWeight& before, const StoredWeight& after, Extent extent) {
  // A few million elements at a time: the copies in fp32 stay small beside the model.
  const std::int64_t step =
      std::max<std::int64_t>(1, (std::int64_t{1} << 22) / std::max<std::int64_t>(extent.cols, 1));
  double changed = 0, moved = 0, size = 0;
  for (std::int64_t first = 0; first < extent.rows; first += step) {
    const std::int64_t n = std::min(step, extent.rows - first);
    const at::Tensor a = before.values(extent, first, n), b = after.values(extent, first, n);
    const double norm = at::linalg_vector_norm(a).item<double>();
    const double difference = at::linalg_vector_norm(b.sub(a)).item<double>();
    size += norm * norm;
    moved += difference * difference;
    changed += static_cast<double>(at::ne(a, b).count_nonzero().item<std::int64_t>());
  }
  const auto count = static_cast<double>(extent.rows * extent.cols);
  return {count == 0 ? 0.0 : changed / count, size == 0 ? 0.0 : std::sqrt(moved / size)};
}

}  // namespace tetrad::optim

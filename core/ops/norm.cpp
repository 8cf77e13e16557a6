#include "ops/norm.h"

#include "ops/cpu_dispatch.h"
#include "ops/simd_rows.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/square.h>

namespace tetrad::ops {
namespace {

bool takes_kernel(const at::Tensor& x, const at::Tensor& weight) {
  return for_kernel(x) && for_kernel(weight) && x.scalar_type() == weight.scalar_type() &&
         weight.dim() == 1 && x.dim() > 0 && weight.size(0) > 0 && x.size(-1) == weight.size(0);
}

// y and sum both or neither.
void run(const at::Tensor& x, const at::Tensor* y, const at::Tensor& weight, double eps,
         const at::Tensor* sum, const at::Tensor& out) {
  const std::int64_t n = weight.size(0);
  with_element(x.scalar_type(), [&](auto* tag) {
    using T = std::remove_pointer_t<decltype(tag)>;
    const T *from = values<T>(x), *added = y == nullptr ? nullptr : values<T>(*y), *by = values<T>(weight);
    T *to = mutable_values<T>(out), *total = sum == nullptr ? nullptr : mutable_values<T>(*sum);
    at::parallel_for(0, x.numel() / n, row_grain(n), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r)
        simd::rms_norm_row(from + r * n, added == nullptr ? nullptr : added + r * n, by, n,
                           static_cast<float>(eps), total == nullptr ? nullptr : total + r * n, to + r * n);
    });
  });
}

}  // namespace

at::Tensor rms_norm_reference(const at::Tensor& x, const at::Tensor& weight, double eps) {
  const at::Tensor wide = x.to(at::kFloat);
  const at::Tensor inverse =
      at::rsqrt(at::mean(at::square(wide), at::IntArrayRef{-1}, /*keepdim=*/true).add(eps));
  return at::mul(at::mul(wide, inverse).to(x.scalar_type()), weight);
}

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  if (!takes_kernel(x, weight)) return rms_norm_reference(x, weight, eps);
  const at::Tensor out = at::empty_like(x);
  run(x, nullptr, weight, eps, nullptr, out);
  return out;
}

Normed add_rms_norm(const at::Tensor& x, const at::Tensor& y, const at::Tensor& weight, double eps) {
  if (!takes_kernel(x, weight) || !for_kernel(y) || y.scalar_type() != x.scalar_type() ||
      y.sizes() != x.sizes()) {
    const at::Tensor sum = x.add(y);
    return {sum, rms_norm(sum, weight, eps)};
  }
  Normed result{at::empty_like(x), at::empty_like(x)};
  run(x, &y, weight, eps, &result.sum, result.normed);
  return result;
}

}  // namespace tetrad::ops

#include "ops/norm.h"

#include "device/cuda_ops.h"

#include "ops/cpu_dispatch.h"
#include "ops/simd_rows.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
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

// The CUDA kernels, where they take these.
device::CudaOps* on_device(const at::Tensor& x, const at::Tensor& weight) {
  const bool alike = weight.scalar_type() == x.scalar_type() && weight.is_contiguous() && weight.dim() == 1 &&
                     x.dim() > 0 && x.size(-1) == weight.size(0) && x.numel() > 0;
  return alike ? device::cuda_ops_for(x) : nullptr;
}

// y and sum both or neither.
template <class T>
void run(const at::Tensor& x, const at::Tensor* y, const at::Tensor& weight, double eps,
         const at::Tensor* sum, const at::Tensor& out) {
  const std::int64_t n = weight.size(0), rows = x.numel() / n, grain = row_grain(n);
  const T *from = values<T>(x), *added = y == nullptr ? nullptr : values<T>(*y), *by = values<T>(weight);
  T *to = mutable_values<T>(out), *total = sum == nullptr ? nullptr : mutable_values<T>(*sum);
  const auto row = [n](auto* first, std::int64_t r) { return first == nullptr ? nullptr : first + r * n; };
  if ((x.dim() > 1 ? x.size(0) : 1) <= kFewRows) {
    for (std::int64_t r = 0; r < rows; ++r)
      simd::rms_norm_row(row(from, r), row(added, r), by, n, static_cast<float>(eps), row(total, r),
                         row(to, r));
    return;
  }
  const at::Tensor squares = at::empty({rows, n}, x.options().dtype(at::kFloat));
  auto* const squared = mutable_values<float>(squares);
  at::parallel_for(0, rows, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r)
      simd::squares_row(row(from, r), row(added, r), n, row(total, r), row(squared, r));
  });
  const at::Tensor inverse = at::rsqrt(at::mean(squares, at::IntArrayRef{-1}).add(eps));
  const auto* const by_row = values<float>(inverse);
  const T* const normed = total == nullptr ? from : total;
  at::parallel_for(0, rows, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) simd::scale_row(row(normed, r), by_row[r], by, n, row(to, r));
  });
}

void run(const at::Tensor& x, const at::Tensor* y, const at::Tensor& weight, double eps,
         const at::Tensor* sum, const at::Tensor& out) {
  with_element(x.scalar_type(),
               [&](auto* tag) { run<std::remove_pointer_t<decltype(tag)>>(x, y, weight, eps, sum, out); });
}

}  // namespace

at::Tensor rms_norm_reference(const at::Tensor& x, const at::Tensor& weight, double eps) {
  const at::Tensor wide = x.to(at::kFloat);
  const at::Tensor inverse =
      at::rsqrt(at::mean(at::square(wide), at::IntArrayRef{-1}, /*keepdim=*/true).add(eps));
  return at::mul(at::mul(wide, inverse).to(x.scalar_type()), weight);
}

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  if (device::CudaOps* cuda = on_device(x, weight)) {
    const at::Tensor y = at::empty_like(x);
    cuda->rms_norm(x, weight, eps, y);
    return y;
  }
  if (!takes_kernel(x, weight)) return rms_norm_reference(x, weight, eps);
  const at::Tensor out = at::empty_like(x);
  run(x, nullptr, weight, eps, nullptr, out);
  return out;
}

Normed add_rms_norm(const at::Tensor& x, const at::Tensor& y, const at::Tensor& weight, double eps) {
  if (device::CudaOps* cuda = on_device(x, weight);
      cuda != nullptr && on_device(y, weight) != nullptr && y.sizes() == x.sizes()) {
    Normed result{at::empty_like(x), at::empty_like(x)};
    cuda->add_rms_norm(x, y, weight, eps, result.sum, result.normed);
    return result;
  }
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

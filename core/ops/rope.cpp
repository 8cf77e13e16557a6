#include "ops/rope.h"

#include "device/cuda_ops.h"

#include "ops/cpu_dispatch.h"
#include "ops/norm.h"
#include "ops/simd_rows.h"

#include <ATen/Parallel.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/sin.h>

#include <algorithm>

namespace tetrad::ops {

RopeTable::RopeTable(const std::vector<double>& inv_freq, double attention_scaling, at::Device device)
    : attention_scaling_(attention_scaling) {
  std::vector<float> narrow(inv_freq.begin(), inv_freq.end());
  inv_freq_ =
      at::from_blob(narrow.data(), {static_cast<std::int64_t>(narrow.size())}, at::kFloat).clone().to(device);
}

void RopeTable::grow(std::int64_t positions, at::ScalarType dtype) {
  // Doubling keeps the number of regrowths logarithmic; values do not depend on the table's size.
  const std::int64_t size = std::max<std::int64_t>(positions, cos_.defined() ? 2 * cos_.size(0) : 512);
  const at::Tensor cos = at::empty({size, 1, inv_freq_.size(0)}, inv_freq_.options().dtype(dtype));
  const at::Tensor sin = at::empty_like(cos);
  // By pieces: the angles of 262,144 positions in fp32 would take more than the table itself, three times.
  constexpr std::int64_t kPiece = 4096;
  for (std::int64_t first = 0; first < size; first += kPiece) {
    const std::int64_t n = std::min(kPiece, size - first);
    const at::Tensor position = at::arange(first, first + n, inv_freq_.options()).unsqueeze(1);
    const at::Tensor angle = position.mul(inv_freq_.unsqueeze(0)).unsqueeze(1);  // fp32 [n, 1, head_dim / 2]
    cos.narrow(0, first, n).copy_(at::cos(angle).mul_(attention_scaling_));
    sin.narrow(0, first, n).copy_(at::sin(angle).mul_(attention_scaling_));
  }
  cos_ = cos;
  sin_ = sin;
}

void RopeTable::require(std::int64_t positions, at::ScalarType dtype) {
  if (!cos_.defined() || cos_.size(0) < positions || cos_.scalar_type() != dtype) grow(positions, dtype);
}

at::Tensor RopeTable::apply(const at::Tensor& x, std::int64_t begin) {
  const std::int64_t tokens = x.size(0);
  require(begin + tokens, x.scalar_type());
  if (!for_kernel(x) || !cos_.device().is_cpu()) return apply_reference(x, begin);
  return rotate_kernel(x, cos_, sin_, begin);
}

Rotated RopeTable::norm_and_apply(const at::Tensor& q, const at::Tensor& k, const at::Tensor& q_weight,
                                  const at::Tensor& k_weight, double eps, std::int64_t begin) {
  device::CudaOps* cuda = device::cuda_ops_for(q);
  if (cuda != nullptr && device::cuda_ops_for(k) != nullptr && q.size(0) > 0) {
    require(begin + q.size(0), q.scalar_type());
    device::Rotation r;
    r.q = q;
    r.k = k;
    r.q_weight = q_weight;
    r.k_weight = k_weight;
    r.eps = eps;
    r.cos = cos_;
    r.sin = sin_;
    r.begin = begin;
    r.q_out = at::empty_like(q);
    r.k_out = at::empty_like(k);
    cuda->rotate(r);
    return {r.q_out, r.k_out};
  }
  const auto normed = [eps](const at::Tensor& x, const at::Tensor& weight) {
    return weight.defined() ? rms_norm(x, weight, eps) : x;
  };
  return {apply(normed(q, q_weight), begin), apply(normed(k, k_weight), begin)};
}

at::Tensor RopeTable::apply_reference(const at::Tensor& x, std::int64_t begin) {
  const std::int64_t tokens = x.size(0);
  require(begin + tokens, x.scalar_type());
  return rotate_plain(x, cos_.narrow(0, begin, tokens), sin_.narrow(0, begin, tokens));
}

at::Tensor rotate_kernel(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin,
                         std::int64_t begin) {
  const std::int64_t tokens = x.size(0), heads = x.size(1), half = x.size(2) / 2;
  const at::Tensor out = at::empty_like(x);
  with_element(x.scalar_type(), [&](auto* tag) {
    using T = std::remove_pointer_t<decltype(tag)>;
    const T *from = values<T>(x), *c = values<T>(cos) + begin * half, *s = values<T>(sin) + begin * half;
    T* to = mutable_values<T>(out);
    at::parallel_for(0, tokens, row_grain(2 * half * heads), [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t h = first * heads; h < last * heads; ++h)
        simd::rope_head(from + h * 2 * half, c + h / heads * half, s + h / heads * half, half,
                        to + h * 2 * half);
    });
  });
  return out;
}

at::Tensor rotate_plain(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin) {
  const std::int64_t half = x.size(-1) / 2;
  const at::Tensor lower = x.narrow(-1, 0, half), upper = x.narrow(-1, half, half);
  return at::cat({lower.mul(cos).sub(upper.mul(sin)), upper.mul(cos).add(lower.mul(sin))}, -1);
}

}  // namespace tetrad::ops

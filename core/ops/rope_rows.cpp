#include "ops/rope_rows.h"

#include "device/cuda_ops.h"
#include "ops/cpu_dispatch.h"
#include "ops/norm.h"
#include "ops/norm_backward.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/index_select.h>

#include <utility>

namespace tetrad::ops {
namespace {

// The CUDA kernels, where they take these heads with this table.
device::CudaTrainOps* on_device(const UnrotatedHeads& h, const RopeTable& table,
                                const at::Tensor& positions) {
  device::CudaOps* cuda = device::cuda_ops_for(h.q);
  const auto alike = [&h](const at::Tensor& t) {
    return t.scalar_type() == h.q.scalar_type() && t.device() == h.q.device() && t.is_contiguous();
  };
  const auto weighs = [&](const at::Tensor& w) { return !w.defined() || alike(w); };
  const bool taken = cuda != nullptr && h.q.numel() > 0 && alike(h.k) && weighs(h.q_weight) &&
                     weighs(h.k_weight) && alike(table.cos()) && alike(table.sin()) &&
                     positions.is_contiguous() && cuda->training().takes_rotation(h.q.size(2));
  return taken ? &cuda->training() : nullptr;
}

device::TrainRotation arguments(const UnrotatedHeads& h, const RopeTable& table,
                                const at::Tensor& positions) {
  device::TrainRotation r;
  r.q = h.q;
  r.k = h.k;
  r.q_weight = h.q_weight;
  r.k_weight = h.k_weight;
  r.eps = h.eps;
  r.cos = table.cos();
  r.sin = table.sin();
  r.positions = positions;
  r.q_out = at::empty_like(h.q);
  r.k_out = at::empty_like(h.k);
  return r;
}

}  // namespace

at::Tensor rotate_rows(const at::Tensor& x, const RopeTable& table, const at::Tensor& positions, Turn turn) {
  const at::Tensor cos = at::index_select(table.cos(), 0, positions);
  at::Tensor sin = at::index_select(table.sin(), 0, positions);
  if (turn == Turn::backward) sin = sin.neg();
  if (!for_kernel(x) || cos.scalar_type() != x.scalar_type()) return rotate_plain(x, cos, sin);
  return rotate_kernel(x, cos, sin, 0);
}

Rotated norm_and_rotate_rows(const UnrotatedHeads& heads, const RopeTable& table,
                             const at::Tensor& positions) {
  if (device::CudaTrainOps* cuda = on_device(heads, table, positions)) {
    const device::TrainRotation r = arguments(heads, table, positions);
    cuda->rotate(r);
    return {r.q_out, r.k_out};
  }
  const auto one = [&](const at::Tensor& x, const at::Tensor& weight) {
    return rotate_rows(weight.defined() ? rms_norm(x, weight, heads.eps) : x, table, positions,
                       Turn::forward);
  };
  return {one(heads.q, heads.q_weight), one(heads.k, heads.k_weight)};
}

RotationGradient norm_and_rotate_rows_backward(const at::Tensor& dq, const at::Tensor& dk,
                                               const UnrotatedHeads& heads, const RopeTable& table,
                                               const at::Tensor& positions) {
  if (device::CudaTrainOps* cuda = on_device(heads, table, positions)) {
    device::TrainRotation r = arguments(heads, table, positions);
    const auto room = [](const at::Tensor& weight) {
      return weight.defined() ? at::empty(weight.sizes(), weight.options().dtype(at::kFloat)) : at::Tensor();
    };
    r.dq = dq.contiguous();
    r.dk = dk.contiguous();
    r.dq_weight = room(heads.q_weight);
    r.dk_weight = room(heads.k_weight);
    cuda->rotate_backward(r);
    return {r.q_out, r.k_out, r.dq_weight, r.dk_weight};
  }
  const auto one = [&](const at::Tensor& dy, const at::Tensor& x, const at::Tensor& weight) -> NormGradient {
    const at::Tensor turned = rotate_rows(dy.contiguous(), table, positions, Turn::backward);
    if (!weight.defined()) return {turned, {}};
    return rms_norm_backward(turned, x, weight, heads.eps);
  };
  NormGradient q = one(dq, heads.q, heads.q_weight), k = one(dk, heads.k, heads.k_weight);
  return {std::move(q.dx), std::move(k.dx), std::move(q.dweight), std::move(k.dweight)};
}

}  // namespace tetrad::ops

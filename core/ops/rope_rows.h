// Rotary embedding of rows whose positions are given one by one, as packed training rows have them (positions
// restart with every document), and its gradient: a rotation is orthogonal up to the table's scaling, so the
// gradient is the rotation by the opposite angle with the same table. Rounding is that of RopeTable::apply().
// norm_and_rotate_rows and its gradient do both for queries and keys, with the norm of each head before it
// (norm.h): on CUDA in 16 bits one kernel each, for heads of 64, 128 and 256 elements.
#pragma once

#include "ops/rope.h"

#include <ATen/core/Tensor.h>

namespace tetrad::ops {

enum class Turn { forward, backward };

// x [T, heads, head_dim] contiguous; positions int64 [T] on x's device, each within what table.reserve() was
// called for with x's dtype. Returns a new tensor like x.
at::Tensor rotate_rows(const at::Tensor& x, const RopeTable& table, const at::Tensor& positions, Turn turn);

// Queries [T, heads, head_dim] and keys [T, kv_heads, head_dim] before their norm and rotation, and the
// norms' weights [head_dim], undefined where there is none.
struct UnrotatedHeads {
  at::Tensor q, k, q_weight, k_weight;
  double eps = 0.0;
};
Rotated norm_and_rotate_rows(const UnrotatedHeads& heads, const RopeTable& table,
                             const at::Tensor& positions);

struct RotationGradient {
  at::Tensor dq, dk;                // as q and k
  at::Tensor dq_weight, dk_weight;  // fp32 [head_dim] (fp64 for fp64 tensors), where there is a weight
};
// dq, dk: gradients of what norm_and_rotate_rows made.
RotationGradient norm_and_rotate_rows_backward(const at::Tensor& dq, const at::Tensor& dk,
                                               const UnrotatedHeads& heads, const RopeTable& table,
                                               const at::Tensor& positions);

}  // namespace tetrad::ops

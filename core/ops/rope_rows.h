// Rotary embedding of rows whose positions are given one by one, as packed training rows have them (positions
// restart with every document), and its gradient: a rotation is orthogonal up to the table's scaling, so the
// gradient is the rotation by the opposite angle with the same table. Rounding is that of RopeTable::apply().
#pragma once

#include "ops/rope.h"

#include <ATen/core/Tensor.h>

namespace tetrad::ops {

enum class Turn { forward, backward };

// x [T, heads, head_dim] contiguous; positions int64 [T] on x's device, each within what table.reserve() was
// called for with x's dtype. Returns a new tensor like x.
at::Tensor rotate_rows(const at::Tensor& x, const RopeTable& table, const at::Tensor& positions, Turn turn);

}  // namespace tetrad::ops

// Rotary position embedding in the half-rotation layout of Llama and Qwen3 (Su et al. 2021; transformers'
// rotate_half). Angles are computed in fp32 from inverse frequencies that already carry the model's scaling
// variant. In 16-bit dtypes cos, sin, both products and their sum are each rounded to the dtype, as
// transformers does: less exact than one rounding by 3 % of bf16's whole noise on SmolLM2, but then a prefill
// in bf16 gives transformers' logits bit for bit, where one rounding chooses another token at 3 % of the
// positions.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace tetrad::ops {

// Queries and keys on their way to attention.
struct Rotated {
  at::Tensor q, k;
};

class RopeTable {
 public:
  // inv_freq: head_dim / 2 values; attention_scaling multiplies cos and sin (yarn), 1 otherwise.
  RopeTable(const std::vector<double>& inv_freq, double attention_scaling, at::Device device);

  // Rotates x [T, heads, head_dim] as positions [begin, begin + T); result has x's dtype.
  at::Tensor apply(const at::Tensor& x, std::int64_t begin);
  // The same in plain libtorch operations: what runs where apply() has no kernel, and what tests compare
  // with.
  at::Tensor apply_reference(const at::Tensor& x, std::int64_t begin);

  // Norms the heads of q [T, heads, head_dim] and k [T, kv_heads, head_dim] (weights undefined: no norm) and
  // rotates them: rms_norm and apply of both, in one kernel where a CUDA device has it.
  Rotated norm_and_apply(const at::Tensor& q, const at::Tensor& k, const at::Tensor& q_weight,
                         const at::Tensor& k_weight, double eps, std::int64_t begin);

  // The table for positions [0, positions) is made now; its addresses then hold until more are asked for.
  void reserve(std::int64_t positions, at::ScalarType dtype) { require(positions, dtype); }
  // [positions, 1, head_dim / 2], contiguous.
  const at::Tensor& cos() const noexcept { return cos_; }
  const at::Tensor& sin() const noexcept { return sin_; }

 private:
  // The table reaches that far and is of that dtype.
  void require(std::int64_t positions, at::ScalarType dtype);
  void grow(std::int64_t positions, at::ScalarType dtype);

  at::Tensor inv_freq_;  // fp32 [head_dim / 2]
  double attention_scaling_;
  at::Tensor cos_;  // [positions, 1, head_dim / 2], dtype of what was rotated last
  at::Tensor sin_;
};

// x [T, heads, head_dim] rotated by rows [begin, begin + T) of cos and sin [rows, 1, head_dim / 2], all
// contiguous on the CPU and of a dtype that has a kernel; rotate_plain takes exactly T rows, wherever they
// lie.
at::Tensor rotate_kernel(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin,
                         std::int64_t begin);
at::Tensor rotate_plain(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin);

}  // namespace tetrad::ops

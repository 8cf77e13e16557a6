// Rotary position embedding in the half-rotation layout of Llama and Qwen3 (Su et al. 2021; transformers'
// rotate_half). Angles are computed in fp32 from inverse frequencies that already carry the model's scaling
// variant; the rotation is done in fp32 and rounded once.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace tetrad::ops {

class RopeTable {
 public:
  // inv_freq: head_dim / 2 values; attention_scaling multiplies cos and sin (yarn), 1 otherwise.
  RopeTable(const std::vector<double>& inv_freq, double attention_scaling, at::Device device);

  // Rotates x [T, heads, head_dim] as positions [begin, begin + T); result has x's dtype.
  at::Tensor apply(const at::Tensor& x, std::int64_t begin);

 private:
  void grow(std::int64_t positions);

  at::Tensor inv_freq_;  // fp32 [head_dim / 2]
  double attention_scaling_;
  at::Tensor cos_;  // fp32 [positions, 1, head_dim / 2]
  at::Tensor sin_;
};

}  // namespace tetrad::ops

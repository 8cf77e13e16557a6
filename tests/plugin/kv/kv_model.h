// The naive KV cache that the policies are checked against: one std::vector per layer, every operation
// spelled out on whole tensors, nothing kept in place. Slow and obvious.
#pragma once

#include <ATen/ATen.h>
#include <tetrad/torch/kv_policy.h>

#include <cstdint>
#include <vector>

namespace tetrad::kv_test {

struct Step {
  std::vector<at::Tensor> k, v;  // per layer, [n, kv_heads, head_dim]
};

class NaiveKv {
 public:
  explicit NaiveKv(const KvShape& shape) : shape_(shape) {
    const auto none = at::empty({0, shape.kv_heads, shape.head_dim}, at::TensorOptions().dtype(shape.dtype));
    k.assign(static_cast<std::size_t>(shape.layers), none);
    v = k;
  }
  void append(const Step& step, std::int64_t n) {
    for (std::size_t i = 0; i < k.size(); ++i) {
      k[i] = at::cat({k[i], step.k[i].narrow(0, 0, n)});
      v[i] = at::cat({v[i], step.v[i].narrow(0, 0, n)});
    }
    length += n;
  }
  void truncate(std::int64_t to) {
    for (std::size_t i = 0; i < k.size(); ++i) {
      k[i] = k[i].narrow(0, 0, to).clone();
      v[i] = v[i].narrow(0, 0, to).clone();
    }
    length = to;
  }

  std::vector<at::Tensor> k, v;  // per layer, [length, kv_heads, head_dim]
  std::int64_t length = 0;

 private:
  KvShape shape_;
};

inline Step random_step(const KvShape& shape, std::int64_t n) {
  Step step;
  for (std::int64_t i = 0; i < shape.layers; ++i) {
    step.k.push_back(at::randn({n, shape.kv_heads, shape.head_dim}).to(shape.dtype));
    step.v.push_back(at::randn({n, shape.kv_heads, shape.head_dim}).to(shape.dtype));
  }
  return step;
}

}  // namespace tetrad::kv_test

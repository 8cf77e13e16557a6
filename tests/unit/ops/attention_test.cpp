#include "ops/attention.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

namespace tetrad::ops {
namespace {

struct Shape {
  std::int64_t heads, kv_heads, dim, queries, keys;
};

double worst(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

class CausalAttention : public testing::TestWithParam<Shape> {};

TEST_P(CausalAttention, equals_the_plain_form) {
  at::manual_seed(1);
  const Shape s = GetParam();
  const at::Tensor q = at::randn({s.queries, s.heads, s.dim});
  // A view into a larger buffer, as a KV policy gives it.
  const at::Tensor k = at::randn({s.kv_heads, s.keys + 7, s.dim}).narrow(1, 3, s.keys);
  const at::Tensor v = at::randn({s.kv_heads, s.keys + 5, s.dim}).narrow(1, 1, s.keys);
  const double scale = 1.0 / std::sqrt(static_cast<double>(s.dim));
  const at::Tensor fast = causal_attention(q, k, v, scale);
  EXPECT_EQ(fast.sizes(), (at::IntArrayRef{s.queries, s.heads * s.dim}));
  EXPECT_LT(worst(fast, causal_attention_reference(q, k, v, scale)), 2e-6);
}

TEST_P(CausalAttention, bf16_stays_within_its_rounding) {
  at::manual_seed(2);
  const Shape s = GetParam();
  const at::Tensor q = at::randn({s.queries, s.heads, s.dim}).to(at::kBFloat16);
  const at::Tensor k = at::randn({s.kv_heads, s.keys, s.dim}).to(at::kBFloat16);
  const at::Tensor v = at::randn({s.kv_heads, s.keys, s.dim}).to(at::kBFloat16);
  const double scale = 1.0 / std::sqrt(static_cast<double>(s.dim));
  const at::Tensor wide =
      causal_attention_reference(q.to(at::kFloat), k.to(at::kFloat), v.to(at::kFloat), scale);
  EXPECT_LT(worst(causal_attention(q, k, v, scale).to(at::kFloat), wide), 0.04);
}

INSTANTIATE_TEST_SUITE_P(Shapes, CausalAttention,
                         testing::Values(Shape{9, 3, 64, 1, 1}, Shape{9, 3, 64, 1, 100},
                                         Shape{4, 4, 16, 1, 33}, Shape{9, 3, 64, 40, 40},
                                         Shape{8, 2, 32, 10, 47}, Shape{4, 1, 24, 3, 257},
                                         Shape{6, 3, 8, 2, 2}, Shape{2, 2, 128, 64, 65}));

// The trap that the header names: with q_len != kv_len the first new token must see the whole past.
TEST(CausalAttention, delta_prefill_sees_the_past) {
  const at::Tensor k = at::zeros({1, 5, 4}), q = at::zeros({2, 1, 4});
  at::Tensor v = at::zeros({1, 5, 4});
  v.select(1, 0).fill_(10.0);  // only the oldest token carries a value
  const at::Tensor out = causal_attention(q, k, v, 1.0);
  EXPECT_NEAR(out[0][0].item<double>(), 10.0 / 4, 1e-6);  // sees keys 0..3
  EXPECT_NEAR(out[1][0].item<double>(), 10.0 / 5, 1e-6);  // sees keys 0..4
}

}  // namespace
}  // namespace tetrad::ops

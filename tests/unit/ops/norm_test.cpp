#include "ops/norm.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

namespace tetrad::ops {
namespace {

TEST(RmsNorm, equals_the_formula_in_double) {
  at::manual_seed(1);
  const at::Tensor x = at::randn({5, 37}) * 3, weight = at::randn({37});
  const at::Tensor wide = x.to(at::kDouble);
  const at::Tensor expected = wide / (wide.square().mean({-1}, true) + 1e-5).sqrt() * weight.to(at::kDouble);
  EXPECT_LT((rms_norm(x, weight, 1e-5).to(at::kDouble) - expected).abs().max().item<double>(), 3e-6);
}

TEST(RmsNorm, takes_statistics_in_fp32_for_bf16_input) {
  // 4,096 squares of 8 do not add up in bf16.
  const at::Tensor x = at::full({1, 4096}, 8.0, at::kBFloat16), weight = at::ones({4096}, at::kBFloat16);
  EXPECT_EQ(rms_norm(x, weight, 0.0).to(at::kFloat).min().item<float>(), 1.0F);
  EXPECT_EQ(rms_norm(x, weight, 0.0).to(at::kFloat).max().item<float>(), 1.0F);
}

TEST(RmsNorm, tiny_input_is_held_by_epsilon) {
  const at::Tensor y = rms_norm(at::full({1, 8}, 1e-20), at::ones({8}), 1e-5);
  EXPECT_TRUE(y.isfinite().all().item<bool>());
  EXPECT_LT(y.abs().max().item<float>(), 1e-16F);
}

}  // namespace
}  // namespace tetrad::ops

// The hand-written gradients against libtorch's autograd on the same formulas in fp64, against finite
// differences, and the kernels in 32 and 16 bits against the plain forms.
#include "ops/activation.h"
#include "ops/activation_backward.h"
#include "ops/cross_entropy.h"
#include "ops/embedding_backward.h"
#include "ops/norm.h"
#include "ops/norm_backward.h"
#include "ops/rope.h"
#include "ops/rope_rows.h"

#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

namespace tetrad::ops {
namespace {

at::Tensor random(at::IntArrayRef shape, at::ScalarType dtype = at::kDouble, double scale = 1.0) {
  return at::randn(shape, at::TensorOptions().dtype(at::kDouble)).mul_(scale).to(dtype);
}

double distance(const at::Tensor& a, const at::Tensor& b) {
  EXPECT_EQ(a.sizes(), b.sizes());
  const double norm = b.to(at::kDouble).norm().item<double>();
  return a.to(at::kDouble).sub(b.to(at::kDouble)).norm().item<double>() / std::max(norm, 1e-30);
}

at::Tensor leaf(const at::Tensor& t) {
  return t.detach().clone().requires_grad_(true);
}

// (f(x + h d) - f(x - h d)) / 2h for a random direction d, against <gradient, d>.
template <class F>
void expect_slope(const at::Tensor& x, const at::Tensor& gradient, F&& f) {
  const at::Tensor d = random(x.sizes());
  const double h = 1e-5;
  const double slope = (f(x.add(d, h)) - f(x.sub(d, h))) / (2 * h);
  EXPECT_NEAR(slope, gradient.mul(d).sum().template item<double>(), 1e-6 * std::max(1.0, std::abs(slope)));
}

class Backward : public ::testing::Test {
 protected:
  void SetUp() override { at::manual_seed(7); }
};

TEST_F(Backward, RmsNormIsAutogradsAndTheSlope) {
  for (const double eps : {1e-6, 0.3}) {
    const at::Tensor x = leaf(random({3, 5, 24}, at::kDouble, 2.0)), w = leaf(random({24}));
    const at::Tensor dy = random({3, 5, 24});
    const auto f = [&](const at::Tensor& v) {
      return v.mul(at::rsqrt(v.square().mean(at::IntArrayRef{-1}, true).add(eps))).mul(w);
    };
    f(x).backward(dy);
    const at::NoGradGuard no_grad;
    const NormGradient grad = rms_norm_backward(dy, x, w, eps);
    EXPECT_LT(distance(grad.dx, x.grad()), 1e-13);
    EXPECT_LT(distance(grad.dweight, w.grad()), 1e-13);
    expect_slope(x.detach(), grad.dx,
                 [&](const at::Tensor& v) { return f(v).mul(dy).sum().template item<double>(); });
  }
}

TEST_F(Backward, RmsNormOf16BitsIsThatOf64RoundedOnce) {
  const at::Tensor x = random({40, 96}, at::kBFloat16), w = random({96}, at::kBFloat16),
                   dy = random({40, 96}, at::kBFloat16);
  const NormGradient grad = rms_norm_backward(dy, x, w, 1e-6);
  const NormGradient exact =
      rms_norm_backward(dy.to(at::kDouble), x.to(at::kDouble), w.to(at::kDouble), 1e-6);
  EXPECT_EQ(grad.dx.scalar_type(), at::kBFloat16);
  EXPECT_EQ(grad.dweight.scalar_type(), at::kFloat);
  EXPECT_LT(distance(grad.dx, exact.dx), 2e-3);
  EXPECT_LT(distance(grad.dweight, exact.dweight), 1e-6);
}

TEST_F(Backward, SiluMulIsAutogradsAndTheSlope) {
  const at::Tensor gate = leaf(random({7, 33}, at::kDouble, 3.0)), up = leaf(random({7, 33}));
  const at::Tensor dh = random({7, 33});
  at::silu(gate).mul(up).backward(dh);
  const at::NoGradGuard no_grad;
  const SiluMulGradient grad = silu_mul_backward(dh, gate, up);
  EXPECT_LT(distance(grad.dgate, gate.grad()), 1e-13);
  EXPECT_LT(distance(grad.dup, up.grad()), 1e-13);
  expect_slope(gate.detach(), grad.dgate, [&](const at::Tensor& v) {
    return silu_mul_reference(v, up).mul(dh).sum().template item<double>();
  });
  const at::Tensor extreme = at::tensor({-100.0F, 100.0F, 0.0F, -0.0F, 88.0F}).unsqueeze(0);
  const SiluMulGradient far = silu_mul_backward(at::ones_like(extreme), extreme, at::ones_like(extreme));
  EXPECT_TRUE(far.dgate.isfinite().all().item<bool>());
  EXPECT_NEAR(far.dgate[0][1].item<float>(), 1.0F, 1e-6F);
}

TEST_F(Backward, RotationOfRowsIsApplyAndItsGradientTheTranspose) {
  RopeTable table({1.0, 0.3, 0.05, 0.001}, 1.25, at::kCPU);
  for (const at::ScalarType dtype : {at::kDouble, at::kFloat, at::kBFloat16}) {
    table.reserve(64, dtype);
    const at::Tensor x = random({5, 3, 8}, dtype), dy = random({5, 3, 8}, dtype);
    const at::Tensor positions = at::arange(11, 16, at::kLong);
    EXPECT_TRUE(at::equal(rotate_rows(x, table, positions, Turn::forward), table.apply(x, 11)));
    const at::Tensor mixed = at::tensor({3, 0, 63, 3, 9}, at::kLong);
    const at::Tensor y = rotate_rows(x, table, mixed, Turn::forward);
    for (std::int64_t t = 0; t < 5; ++t)
      EXPECT_TRUE(at::equal(y[t], table.apply(x.narrow(0, t, 1), mixed[t].item<std::int64_t>())[0]));
    // <R x, dy> = <x, R' dy> for every x and dy is what a gradient is.
    const at::Tensor dx = rotate_rows(dy, table, mixed, Turn::backward);
    const double left = y.to(at::kDouble).mul(dy.to(at::kDouble)).sum().item<double>();
    const double right = x.to(at::kDouble).mul(dx.to(at::kDouble)).sum().item<double>();
    EXPECT_NEAR(left, right, dtype == at::kBFloat16 ? 0.3 : 1e-4) << dtype;
  }
}

TEST_F(Backward, CrossEntropyByTilesIsAutogradsWhateverTheTiles) {
  const std::int64_t words = 53, tokens = 9;
  const at::Tensor logits = leaf(random({tokens, words}, at::kDouble, 4.0));
  const at::Tensor targets = at::randint(words, {tokens}, at::kLong);
  targets[0].fill_(0);
  targets[1].fill_(words - 1);
  const at::Tensor loss = at::cross_entropy_loss(logits, targets, {}, /*Reduction::None*/ 0);
  loss.sum().mul(0.125).backward();
  const at::NoGradGuard no_grad;
  for (const std::int64_t tile : {1, 7, 53, 100}) {
    TiledCrossEntropy entropy(targets, at::kDouble);
    for (std::int64_t first = 0; first < words; first += tile)
      entropy.observe(logits.narrow(1, first, std::min(tile, words - first)), first);
    EXPECT_LT(distance(entropy.negative_log_likelihood(), loss), 1e-13) << tile;
    at::Tensor gradient = at::zeros({tokens, 0}, logits.options());
    for (std::int64_t first = 0; first < words; first += tile)
      gradient = at::cat(
          {gradient, entropy.gradient(logits.narrow(1, first, std::min(tile, words - first)), first, 0.125)},
          1);
    EXPECT_LT(distance(gradient, logits.grad()), 1e-13) << tile;
  }
}

TEST_F(Backward, CrossEntropySurvivesHugeLogits) {
  const at::Tensor logits = at::tensor({1e4F, -1e4F, 3e4F, 0.0F}).view({1, 4});
  TiledCrossEntropy entropy(at::tensor({0}, at::kLong));
  entropy.observe(logits.narrow(1, 0, 2), 0);
  entropy.observe(logits.narrow(1, 2, 2), 2);
  EXPECT_FLOAT_EQ(entropy.negative_log_likelihood().item<float>(), 2e4F);
  const at::Tensor before = logits.clone();
  EXPECT_FLOAT_EQ(entropy.gradient(logits, 0, 1.0)[0][0].item<float>(), -1.0F);
  EXPECT_TRUE(at::equal(before, logits)) << "the logits are the caller's";
}

TEST_F(Backward, EmbeddingSumsRowsOfOneIdInTheirOrder) {
  const at::Tensor table = leaf(random({12, 6}));
  const at::Tensor ids = at::tensor({3, 11, 3, 0, 3, 11, 7}, at::kLong), dy = random({7, 6});
  at::index_select(table, 0, ids).backward(dy);
  const at::NoGradGuard no_grad;
  const EmbeddingGradient grad = embedding_backward(dy, ids);
  EXPECT_TRUE(at::equal(grad.ids, at::tensor({0, 3, 7, 11}, at::kLong)));
  const at::Tensor whole = at::zeros({12, 6}, dy.options());
  whole.index_copy_(0, grad.ids, grad.rows);
  EXPECT_LT(distance(whole, table.grad()), 1e-14);
  // One summation order: fp32 rows give the same bits as adding them one by one.
  const at::Tensor narrow = dy.to(at::kFloat);
  const EmbeddingGradient fp32 = embedding_backward(narrow, ids);
  EXPECT_TRUE(at::equal(fp32.rows[1], narrow[0].add(narrow[2]).add(narrow[4])));
}

}  // namespace
}  // namespace tetrad::ops

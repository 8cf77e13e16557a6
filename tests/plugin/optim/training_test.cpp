// Convergence: a small two-layer regression, trained with each optimizer from the same start on the same
// data. Gradients are worked out by hand; NVFP4 ones go through the codec, as a sink would store them.
#include <tetrad/nvfp4/codec.h>

#include <cmath>

#include "optim_adamw.h"
#include "optim_adamw_nvfp4.h"
#include "optim_rig.h"

namespace tetrad::test {
namespace {

constexpr int kInputs = 48, kHidden = 64, kOutputs = 16, kBatch = 256, kSteps = 200;

double train(Optimizer& optimizer) {
  OptimizerSetup setup;
  setup.seed = 1;
  expect_ok(optimizer.configure(setup));
  Parameter a = random_parameter("a", {kHidden, kInputs}, at::kFloat, 1, 1 / std::sqrt(kInputs));
  Parameter b = random_parameter("b", {kOutputs, kHidden}, at::kFloat, 2, 1 / std::sqrt(kHidden));
  at::manual_seed(3);
  const at::Tensor teacher_a = at::randn({kHidden, kInputs}).div_(std::sqrt(kInputs));
  const at::Tensor teacher_b = at::randn({kOutputs, kHidden}).div_(std::sqrt(kHidden));
  const at::Tensor x = at::randn({kBatch, kInputs}), y = x.matmul(teacher_a.t()).tanh().matmul(teacher_b.t());
  StateId ids[2];
  expect_ok(optimizer.prepare(a, 0.0, ids[0]));
  expect_ok(optimizer.prepare(b, 0.0, ids[1]));
  double loss = 0;
  for (int i = 1; i <= kSteps; ++i) {
    const at::Tensor wa = values_of(a), wb = values_of(b);
    const at::Tensor h = x.matmul(wa.t()).tanh(), error = h.matmul(wb.t()).sub(y);
    loss = error.square().mean().item<double>();
    const at::Tensor d = error.mul(2.0 / static_cast<double>(error.numel()));
    const at::Tensor gb = d.t().matmul(h).contiguous();
    const at::Tensor ga = d.matmul(wb).mul(at::ones_like(h).sub(h.square())).t().matmul(x).contiguous();
    const double lr = 3e-3 * 0.5 * (1.02 + std::cos(3.14159265 * i / kSteps));
    step(optimizer, ids[0], ga, i, lr);
    step(optimizer, ids[1], gb, i, lr);
  }
  return loss;
}

TEST(Convergence, Nvfp4FollowsFp32) {
  optim_adamw::OptimAdamW fp32(adamw_options());
  optim_adamw_nvfp4::OptimAdamWNvfp4 one(nvfp4_options(1)), two(nvfp4_options(2)), three(nvfp4_options(3));
  const int threads = at::get_num_threads();
  at::set_num_threads(1);  // the products are tiny
  const double reference = train(fp32), loss1 = train(one), loss2 = train(two), loss3 = train(three);
  at::set_num_threads(threads);
  std::printf("loss: fp32 %.5f, one plane %.5f, two %.5f, three %.5f\n", reference, loss1, loss2, loss3);
  // The teacher can be reached, so what is left is rounding noise and distance. The start is about 0.7.
  EXPECT_LT(reference, 0.02);
  EXPECT_LT(loss3, 0.03);
  EXPECT_LT(loss2, 0.03);
  EXPECT_LT(loss1, 0.07);
  EXPECT_GT(loss1, 1.5 * loss2);
}

}  // namespace
}  // namespace tetrad::test

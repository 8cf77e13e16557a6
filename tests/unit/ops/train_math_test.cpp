// The arithmetic of the CUDA training kernels (ops/cuda/train_math.h), run here on the host, against the at::
// forms that the CPU computes with and that the kernels stand in for.
#include "ops/cuda/train_math.h"
#include "ops/activation.h"
#include "ops/activation_backward.h"
#include "ops/cross_entropy.h"
#include "ops/norm.h"
#include "ops/norm_backward.h"
#include "ops/rope_rows.h"

#include <ATen/Functions.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace tetrad::ops {
namespace {

using cuda::stored;
using nvfp4::Bf16;

at::Tensor random(at::IntArrayRef shape, double scale = 1.0) {
  return at::randn(shape, at::TensorOptions().dtype(at::kDouble)).mul_(scale).to(at::kBFloat16);
}

// bf16 as floats, in order.
std::vector<float> values(const at::Tensor& t) {
  const at::Tensor wide = t.to(at::kFloat).contiguous();
  const auto* p = static_cast<const float*>(wide.const_data_ptr());
  return {p, p + wide.numel()};
}

// Equal but for results that the order of fp32 operations puts on the other side of a rounding: one step of
// bf16, for one element in a hundred at most.
void expect_same(const std::vector<float>& got, const std::vector<float>& expected, const char* what) {
  ASSERT_EQ(got.size(), expected.size()) << what;
  std::size_t differ = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (got[i] == expected[i]) continue;
    ++differ;
    ASSERT_NEAR(got[i], expected[i], 0x1p-7F * std::abs(expected[i]) + 1e-30F) << what << " " << i;
  }
  EXPECT_LE(differ * 100, got.size()) << what;
}

class TrainMath : public ::testing::Test {
 protected:
  void SetUp() override { at::manual_seed(11); }
};

TEST_F(TrainMath, SiluMulGradientIsTheAtForm) {
  const at::Tensor dh = random({40, 50}), gate = random({40, 50}, 4.0), up = random({40, 50});
  gate[0][0].fill_(-90.0);
  gate[0][1].fill_(90.0);
  gate[0][2].fill_(0.0);
  const SiluMulGradient expected = silu_mul_backward(dh.clone(), gate.clone(), up.clone());
  EXPECT_TRUE(at::equal(expected.activated, silu_mul(gate, up)));
  const std::vector<float> d = values(dh), g = values(gate), u = values(up);
  std::vector<float> dgate, dup, activated;
  for (std::size_t i = 0; i < d.size(); ++i) {
    const cuda::SiluMulElement e = cuda::silu_mul_gradient<Bf16>(d[i], g[i], u[i]);
    dgate.push_back(stored<Bf16>(e.dgate));
    dup.push_back(stored<Bf16>(e.dup));
    activated.push_back(stored<Bf16>(e.activated));
  }
  expect_same(dgate, values(expected.dgate), "dgate");
  expect_same(dup, values(expected.dup), "dup");
  expect_same(activated, values(expected.activated), "activated");
}

TEST_F(TrainMath, NormGradientIsTheAtFormWithWhatPassesBy) {
  const std::int64_t rows = 9, n = 200;
  const double eps = 1e-5;
  const at::Tensor dy = random({rows, n}), x = random({rows, n}, 3.0), w = random({n}),
                   by = random({rows, n});
  const NormGradient expected = rms_norm_backward(dy, x, w, eps, by);
  EXPECT_TRUE(at::equal(expected.dx, rms_norm_backward(dy, x, w, eps).dx.add(by)));
  const std::vector<float> d = values(dy), v = values(x), weight = values(w), passing = values(by);
  std::vector<float> dx, dweight(static_cast<std::size_t>(n), 0.0F);
  for (std::int64_t r = 0; r < rows; ++r) {
    double squares = 0.0, along = 0.0;
    for (std::int64_t i = 0; i < n; ++i) {
      const auto at = static_cast<std::size_t>(r * n + i);
      squares += static_cast<double>(v[at]) * v[at];
      along += static_cast<double>(d[at]) * weight[static_cast<std::size_t>(i)] * v[at];
    }
    const auto inverse = static_cast<float>(1.0 / std::sqrt(squares / n + eps));
    const auto mean = static_cast<float>(along / n * inverse);
    for (std::int64_t i = 0; i < n; ++i) {
      const auto at = static_cast<std::size_t>(r * n + i);
      const cuda::NormElement e =
          cuda::rms_norm_gradient(d[at], v[at], weight[static_cast<std::size_t>(i)], inverse, mean);
      dx.push_back(stored<Bf16>(stored<Bf16>(e.dx) + passing[at]));
      dweight[static_cast<std::size_t>(i)] += e.dweight;
    }
  }
  expect_same(dx, values(expected.dx), "dx");
  const std::vector<float> expected_dweight = values(expected.dweight);
  for (std::size_t i = 0; i < dweight.size(); ++i)
    EXPECT_NEAR(dweight[i], expected_dweight[i], 1e-5F * std::abs(expected_dweight[i]) + 1e-4F) << i;
}

TEST_F(TrainMath, RotationRoundsWhereRotateRowsDoes) {
  const std::int64_t half = 32;
  std::vector<double> frequencies;
  for (std::int64_t i = 0; i < half; ++i)
    frequencies.push_back(std::pow(10000.0, -static_cast<double>(i) / half));
  RopeTable table(frequencies, 1.0, at::kCPU);
  table.reserve(64, at::kBFloat16);
  const at::Tensor positions = at::tensor({5, 0, 63, 5}, at::kLong);
  const at::Tensor x = random({4, 3, 2 * half});
  for (const Turn turn : {Turn::forward, Turn::backward}) {
    const std::vector<float> expected = values(rotate_rows(x, table, positions, turn));
    const std::vector<float> in = values(x), cos = values(table.cos()), sin = values(table.sin());
    std::vector<float> got(in.size());
    for (std::int64_t h = 0; h < 12; ++h) {
      const std::int64_t row = positions[h / 3].item<std::int64_t>() * half;
      for (std::int64_t i = 0; i < half; ++i) {
        const auto low = static_cast<std::size_t>(h * 2 * half + i),
                   up = low + static_cast<std::size_t>(half);
        const float s = sin[static_cast<std::size_t>(row + i)];
        const cuda::Pair p = cuda::rotate<Bf16>({in[low], in[up]}, cos[static_cast<std::size_t>(row + i)],
                                                turn == Turn::forward ? s : -s);
        got[low] = p.lower;
        got[up] = p.upper;
      }
    }
    EXPECT_EQ(got, expected) << "every rounding is the same";
  }
}

// Both together are what the graph did one after the other.
TEST_F(TrainMath, NormAndRotationOfRowsAreTheirParts) {
  RopeTable table({1.0, 0.3, 0.05, 0.001}, 1.25, at::kCPU);
  for (const at::ScalarType dtype : {at::kDouble, at::kFloat, at::kBFloat16}) {
    table.reserve(64, dtype);
    const at::Tensor positions = at::tensor({3, 0, 63, 3, 9}, at::kLong);
    UnrotatedHeads heads{random({5, 6, 8}).to(dtype), random({5, 2, 8}).to(dtype), random({8}).to(dtype),
                         random({8}).to(dtype), 1e-6};
    const at::Tensor dq = random({5, 6, 8}).to(dtype), dk = random({5, 2, 8}).to(dtype);
    const Rotated made = norm_and_rotate_rows(heads, table, positions);
    EXPECT_TRUE(at::equal(
        made.k, rotate_rows(rms_norm(heads.k, heads.k_weight, 1e-6), table, positions, Turn::forward)));
    const RotationGradient grad = norm_and_rotate_rows_backward(dq, dk, heads, table, positions);
    const NormGradient q =
        rms_norm_backward(rotate_rows(dq, table, positions, Turn::backward), heads.q, heads.q_weight, 1e-6);
    EXPECT_TRUE(at::equal(grad.dq, q.dx));
    EXPECT_TRUE(at::equal(grad.dq_weight, q.dweight));
    heads.q_weight = heads.k_weight = at::Tensor();
    const RotationGradient bare = norm_and_rotate_rows_backward(dq, dk, heads, table, positions);
    EXPECT_TRUE(at::equal(bare.dk, rotate_rows(dk, table, positions, Turn::backward)));
    EXPECT_FALSE(bare.dk_weight.defined());
  }
}

TEST_F(TrainMath, JoinedSoftmaxesAndTheGradientAreTiledCrossEntropys) {
  const std::int64_t tokens = 5, words = 77;
  const at::Tensor logits = random({tokens, words}, 6.0);
  logits[1].fill_(-std::numeric_limits<double>::infinity());
  logits[1][7].fill_(2.0);
  const at::Tensor targets = at::tensor({0, 7, 76, 30, 31}, at::kLong);
  TiledCrossEntropy entropy(targets);
  entropy.observe(logits, 0);
  const std::vector<float> loss = values(entropy.negative_log_likelihood()), in = values(logits);
  std::vector<float> got;
  for (std::int64_t t = 0; t < tokens; ++t) {
    const auto at = [&](std::int64_t w) { return in[static_cast<std::size_t>(t * words + w)]; };
    // In pieces of odd sizes, some of them empty, as warps and tiles are.
    cuda::Softmax all = cuda::empty_softmax();
    for (std::int64_t first = 0, size = 0; first < words; first += size, size = (size * 5 + 3) % 11) {
      cuda::Softmax part = cuda::empty_softmax();
      for (std::int64_t w = first; w < std::min(words, first + size); ++w)
        part = cuda::joined({at(w), at(w) == -INFINITY ? 0.0F : 1.0F}, part);
      all = cuda::joined(all, part);
    }
    const float lse = std::log(all.sum) + all.largest;
    const auto target = targets[t].item<std::int64_t>();
    EXPECT_NEAR(lse - at(target), loss[static_cast<std::size_t>(t)], 1e-5F);
    for (std::int64_t w = 0; w < words; ++w)
      got.push_back(stored<Bf16>(cuda::entropy_gradient(at(w), lse, w == target, 0.125F)));
  }
  const at::Tensor in_place = logits.clone();
  entropy.turn_into_gradient(in_place, 0, 0.125);
  EXPECT_TRUE(at::equal(in_place, entropy.gradient(logits, 0, 0.125)));
  expect_same(got, values(in_place), "gradient");
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const cuda::Softmax bad :
       {cuda::joined({nan, nan}, {1.0F, 1.0F}), cuda::joined({1.0F, 1.0F}, {nan, nan}),
        cuda::joined({2.0F, nan}, {1.0F, 1.0F}), cuda::joined({1.0F, 1.0F}, {2.0F, nan})})
    EXPECT_TRUE(std::isnan(bad.sum));
}

}  // namespace
}  // namespace tetrad::ops

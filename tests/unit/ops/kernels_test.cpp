// The CPU kernels of the ops against the plain libtorch forms, for every vector target of the machine.
#include "ops/activation.h"
#include "ops/attention.h"
#include "ops/finite.h"
#include "ops/norm.h"
#include "ops/rope.h"
#include "support/every_target.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

namespace tetrad::ops {
namespace {

class Kernels : public test::EveryTarget {
 protected:
  void SetUp() override {
    EveryTarget::SetUp();
    at::manual_seed(7);
  }
};

INSTANTIATE_TEST_SUITE_P(Target, Kernels, testing::ValuesIn(test::vector_targets()), test::target_name);

// Largest difference in units of the dtype's spacing at the larger value; non-finite values must be alike.
double ulps(const at::Tensor& a, const at::Tensor& b) {
  EXPECT_EQ(a.scalar_type(), b.scalar_type());
  EXPECT_EQ(a.sizes(), b.sizes());
  const double digits = a.scalar_type() == at::kBFloat16 ? 8 : 24;
  const at::Tensor x = a.to(at::kDouble), y = b.to(at::kDouble), finite = at::isfinite(y);
  EXPECT_TRUE(at::equal(at::isfinite(x), finite));
  EXPECT_TRUE(at::equal(at::isnan(x), at::isnan(y)));
  EXPECT_TRUE(at::equal(at::isinf(x).logical_and(x > 0), at::isinf(y).logical_and(y > 0)));
  const at::Tensor size = at::maximum(x.abs(), y.abs()).clamp_min(1e-30);
  const at::Tensor spacing = at::exp2(at::floor(at::log2(size)) + 1 - digits);
  return at::where(finite, (x - y).abs() / spacing, at::zeros_like(x)).max().item<double>();
}

TEST_P(Kernels, RmsNormIsThePlainForm) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    for (const std::int64_t n : {1, 5, 16, 37, 64, 576}) {
      const at::Tensor x = (at::randn({2, 9, n}) * 4).to(dtype), weight = at::randn({n}).to(dtype);
      // Another order of summation (one after the other where there is no vector unit): fp32 by some units,
      // bf16 by one after each of the two roundings.
      EXPECT_LE(ulps(rms_norm(x, weight, 1e-5), rms_norm_reference(x, weight, 1e-5)),
                dtype == at::kFloat ? 24 : 2)
          << n;
    }
  }
}

TEST_P(Kernels, AddRmsNormIsAdditionThenNorm) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    for (const std::int64_t n : {1, 7, 16, 33, 576}) {
      const at::Tensor x = at::randn({3, n}).to(dtype), y = at::randn({3, n}).to(dtype);
      const at::Tensor weight = at::randn({n}).to(dtype);
      const Normed result = add_rms_norm(x, y, weight, 1e-6);
      EXPECT_TRUE(at::equal(result.sum, x.add(y))) << n;
      EXPECT_TRUE(at::equal(result.normed, rms_norm(result.sum, weight, 1e-6))) << n;
    }
  }
}

// Many rows are a prefill, which promises the bits of the plain form.
TEST_P(Kernels, ManyRowsAreThePlainFormBitForBit) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    for (const std::int64_t n : {1, 7, 100, 576}) {
      const at::Tensor x = (at::randn({300, n}) * 3).to(dtype), y = at::randn({300, n}).to(dtype);
      const at::Tensor weight = at::randn({n}).to(dtype);
      EXPECT_TRUE(at::equal(rms_norm(x, weight, 1e-5), rms_norm_reference(x, weight, 1e-5))) << n;
      const Normed step = add_rms_norm(x, y, weight, 1e-5);
      EXPECT_TRUE(at::equal(step.sum, x.add(y))) << n;
      EXPECT_TRUE(at::equal(step.normed, rms_norm_reference(step.sum, weight, 1e-5))) << n;
      EXPECT_TRUE(at::equal(silu_mul(x, y), silu_mul_reference(x, y))) << n;
    }
  }
}

TEST_P(Kernels, StridedAndOtherDtypesTakeThePlainForm) {
  const at::Tensor x = at::randn({6, 8}).t(), weight = at::randn({6});
  EXPECT_TRUE(at::equal(rms_norm(x, weight, 1e-5), rms_norm_reference(x, weight, 1e-5)));
  const at::Tensor half = at::randn({2, 8}).to(at::kHalf);
  EXPECT_TRUE(at::equal(silu_mul(half, half), silu_mul_reference(half, half)));
}

TEST_P(Kernels, SiluMulIsThePlainForm) {
  const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  const at::Tensor special = at::tensor({0.0F, -0.0F, 1.0F, -1.0F, 80.0F, -80.0F, 95.0F, -86.0F, 1e4F, -1e4F,
                                         3e38F, -3e38F, 1e-30F, inf, -inf, nan});
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    for (const std::int64_t n : {1, 15, 16, 100, 20001}) {
      const at::Tensor gate = (at::randn({1, n}) * 5).to(dtype), up = at::randn({1, n}).to(dtype);
      EXPECT_LE(ulps(silu_mul(gate, up), silu_mul_reference(gate, up)), dtype == at::kFloat ? 8 : 2) << n;
    }
    const at::Tensor gate = special.to(dtype), up = at::full_like(gate, 0.5);
    EXPECT_LE(ulps(silu_mul(gate, up), silu_mul_reference(gate, up)), dtype == at::kFloat ? 8 : 2);
  }
}

TEST_P(Kernels, RopeIsThePlainForm) {
  for (const std::int64_t dim : {2, 8, 24, 64, 128}) {
    std::vector<double> frequencies;
    for (std::int64_t i = 0; i < dim / 2; ++i)
      frequencies.push_back(std::pow(1e4, -2.0 * static_cast<double>(i) / static_cast<double>(dim)));
    RopeTable table(frequencies, 1.25, at::kCPU);
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
      const at::Tensor x = at::randn({21, 3, dim}).to(dtype);
      EXPECT_TRUE(at::equal(table.apply(x, 600), table.apply_reference(x, 600))) << dim;
    }
  }
}

TEST_P(Kernels, OneQueryIsThePlainForm) {
  struct Case {
    std::int64_t kv_heads, group, dim, keys;
  };
  for (const Case c : {Case{3, 3, 64, 1}, Case{3, 3, 64, 2}, Case{3, 3, 64, 67}, Case{1, 1, 16, 5},
                       Case{2, 5, 32, 40}, Case{2, 8, 128, 31}, Case{4, 2, 80, 9}, Case{2, 4, 48, 1100}}) {
    const at::Tensor q = at::randn({1, c.kv_heads * c.group, c.dim});
    const at::Tensor k = at::randn({c.kv_heads, c.keys + 7, c.dim}).narrow(1, 3, c.keys);
    const at::Tensor v = at::randn({c.kv_heads, c.keys + 5, c.dim}).narrow(1, 1, c.keys);
    const at::Tensor plain = causal_attention_reference(q, k, v, 0.2);
    EXPECT_LT((causal_attention(q, k, v, 0.2) - plain).abs().max().item<double>(), 3e-6)
        << c.dim << " x " << c.keys;
    const at::Tensor qn = q.to(at::kBFloat16), kn = k.to(at::kBFloat16), vn = v.to(at::kBFloat16);
    EXPECT_LE(ulps(causal_attention(qn, kn, vn, 0.2),
                   causal_attention_reference(qn.to(at::kFloat), kn.to(at::kFloat), vn.to(at::kFloat), 0.2)
                       .to(at::kBFloat16)),
              1)
        << c.dim << " x " << c.keys;
  }
}

TEST_P(Kernels, OneQueryPassesNonFiniteValuesOn) {
  for (const std::int64_t at_key : {0, 3, 4, 20}) {
    at::Tensor k = at::randn({2, 21, 32}), v = at::randn({2, 21, 32});
    const at::Tensor q = at::randn({1, 4, 32});
    k[1][at_key][5] = std::numeric_limits<float>::quiet_NaN();
    const at::Tensor out = causal_attention(q, k, v, 1.0).view({4, 32});
    EXPECT_TRUE(at::isfinite(out.narrow(0, 0, 2)).all().item<bool>());
    EXPECT_TRUE(at::isnan(out.narrow(0, 2, 2)).all().item<bool>()) << at_key;
  }
}

TEST_P(Kernels, OneNonFiniteValueIsFound) {
  for (const std::int64_t n : {1, 16, 50}) {
    for (std::int64_t i = 0; i < n; ++i) {
      at::Tensor x = at::full({n}, 3e38F);
      EXPECT_TRUE(all_finite(x));
      for (const float bad : {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
                              std::numeric_limits<float>::quiet_NaN()}) {
        x[i] = bad;
        EXPECT_FALSE(all_finite(x)) << i << " of " << n;
        EXPECT_FALSE(all_finite(x.to(at::kBFloat16)));
      }
    }
  }
}

}  // namespace
}  // namespace tetrad::ops

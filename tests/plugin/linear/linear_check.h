// What every linear backend must satisfy: forward, dX, dW and gather agree with an fp64 computation on its
// own dequantized() weights, within what fp32 accumulation over K (or N, or T) terms and one rounding to the
// result's dtype allow. The fp64 side is plain ATen in double and shares no code with a backend.
#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <tetrad/torch/linear.h>

#include <cmath>
#include <string>
#include <vector>

namespace tetrad::linear_test {

inline void ok(const Status& status) {
  ASSERT_TRUE(status.ok()) << status.message;
}

inline Parameter parameter(const std::string& name, const at::Tensor& dense, Role role = Role::linear,
                           int contributions = 1) {
  Parameter p;
  p.name = name;
  p.shape = dense.sizes().vec();
  p.role = role;
  p.format = dense.scalar_type() == at::kFloat  ? Format::fp32
             : dense.scalar_type() == at::kHalf ? Format::fp16
                                                : Format::bf16;
  p.dense = dense;
  p.gradient_contributions = contributions;
  return p;
}

// Half a unit in the last place, relative: one rounding of a result.
inline double rounding(at::ScalarType dtype) {
  return dtype == at::kFloat ? 0x1p-24 : dtype == at::kHalf ? 0x1p-11 : 0x1p-8;
}

// |got - a * b| <= (error of an fp32 sum of `terms` products) + (roundings of the result), elementwise; a [M,
// terms] and b [terms, N] in fp64.
inline void expect_product(const at::Tensor& got, const at::Tensor& a, const at::Tensor& b,
                           const std::string& what) {
  ASSERT_TRUE(got.defined()) << what;
  ASSERT_EQ(got.dim(), 2) << what;
  ASSERT_EQ(got.size(0), a.size(0)) << what;
  ASSERT_EQ(got.size(1), b.size(1)) << what;
  if (got.numel() == 0) return;
  const at::Tensor exact = at::mm(a, b);
  const at::Tensor magnitude = at::mm(a.abs(), b.abs());
  // Sums in any order, split in any way: gamma_n with n <= terms; sqrt is the size to expect, 4 the margin.
  const double sum = 4.0 * std::sqrt(static_cast<double>(a.size(1)) + 4.0) * 0x1p-24;
  // Below 2^-14 fp16 has no more than multiples of 2^-24.
  const double least = got.scalar_type() == at::kHalf ? 0x1p-25 : 1e-30;
  const at::Tensor bound = magnitude * sum + exact.abs() * rounding(got.scalar_type()) * 1.01 + least;
  const at::Tensor error = (got.to(at::kDouble) - exact).abs();
  const double worst = (error / bound).max().item<double>();
  EXPECT_LE(worst, 1.0) << what << ": error is " << worst << " times its bound";
  EXPECT_TRUE(at::isfinite(got).all().item<bool>()) << what;
}

struct Case {
  at::ScalarType dtype;
  Path path;
  std::int64_t t, k;
  std::vector<std::int64_t> n;  // weights that share their input
};

inline std::string text(const Case& c) {
  std::string s = std::string(c10::toString(c.dtype)) + (c.path == Path::training ? " training" : " bridge") +
                  " T=" + std::to_string(c.t) + " K=" + std::to_string(c.k) + " N=";
  for (const auto n : c.n) s += std::to_string(n) + " ";
  return s;
}

inline at::Tensor random_weight(std::int64_t n, std::int64_t k, at::ScalarType dtype) {
  return (at::randn({n, k}) * 0.05).to(dtype);
}

// The whole contract on one set of prepared weights.
inline void check_products(LinearBackend& backend, const std::vector<WeightId>& ids, const Case& c) {
  SCOPED_TRACE(text(c));
  const at::Tensor x = at::randn({c.t, c.k}).to(c.dtype);
  std::vector<at::Tensor> w;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    at::Tensor each;
    ok(backend.dequantized(ids[i], each));
    ASSERT_EQ(each.sizes(), at::IntArrayRef({c.n[i], c.k}));
    ASSERT_EQ(each.scalar_type(), c.dtype);
    w.push_back(each.to(at::kDouble));
  }
  for (const Pass pass : {Pass::eval, Pass::train}) {
    if (pass == Pass::train && c.path == Path::bridge) continue;
    std::vector<at::Tensor> y;
    ok(backend.forward(ids, x, pass, y));
    ASSERT_EQ(y.size(), ids.size());
    for (std::size_t i = 0; i < ids.size(); ++i) {
      ASSERT_EQ(y[i].scalar_type(), c.dtype);
      expect_product(y[i], x.to(at::kDouble), w[i].t(),
                     pass == Pass::eval ? "forward eval" : "forward train");
    }
  }
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const at::Tensor dy = at::randn({c.t, c.n[i]}).to(c.dtype);
    at::Tensor dx, dw, rows;
    const at::Tensor rows_of = at::randint(0, c.n[i], {c.t}, at::kLong);
    ok(backend.gather(ids[i], rows_of, rows));
    EXPECT_EQ(rows.scalar_type(), c.dtype);
    EXPECT_TRUE(at::equal(rows.to(at::kDouble), w[i].index_select(0, rows_of)));
    if (c.path == Path::bridge) continue;
    ok(backend.grad_input(ids[i], dy, dx));
    expect_product(dx, dy.to(at::kDouble), w[i], "grad_input");
    ok(backend.grad_weight(ids[i], dy, x, dw));
    expect_product(dw, dy.to(at::kDouble).t(), x.to(at::kDouble), "grad_weight");
  }
}

// Decoding on a CPU: what a few rows of x give does not depend, in any bit, on the weights and rows beside
// them, nor on how the rows of the weights fell to the threads.
inline void check_few_rows(LinearBackend& backend, const std::vector<WeightId>& ids, const Case& c) {
  SCOPED_TRACE(text(c));
  const at::Tensor x = at::randn({c.t, c.k}).to(c.dtype);
  std::vector<at::Tensor> together;
  ok(backend.forward(ids, x, Pass::eval, together));
  ASSERT_EQ(together.size(), ids.size());
  for (std::size_t i = 0; i < ids.size(); ++i) {
    std::vector<at::Tensor> alone;
    ok(backend.forward({&ids[i], 1}, x, Pass::eval, alone));
    EXPECT_TRUE(at::equal(alone[0], together[i])) << "weight " << i;
    for (std::int64_t r = 0; r < c.t; ++r) {
      ok(backend.forward({&ids[i], 1}, x.narrow(0, r, 1), Pass::eval, alone));
      EXPECT_TRUE(at::equal(alone[0][0], together[i][r])) << "weight " << i << ", row " << r;
    }
  }
}

}  // namespace tetrad::linear_test

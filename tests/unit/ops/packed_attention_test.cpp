// Attention within documents and its gradient: against libtorch's autograd on the plain formula in fp64, the
// kernels in 32 and 16 bits against the plain forms, and documents that must not see each other.
#include "ops/packed_attention.h"
#include "ops/attention.h"

#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>
#include <tetrad/base/error.h>

#include <cmath>
#include <limits>

namespace tetrad::ops {
namespace {

struct Case {
  std::int64_t heads, kv_heads, dim;
  std::vector<Segment> segments;
};

const std::vector<Case> cases = {
    {1, 1, 8, {{0, 1}}},
    {4, 2, 16, {{0, 7}, {7, 1}, {8, 20}}},
    {6, 1, 24, {{0, 33}, {33, 3}}},
    {3, 3, 64, {{0, 5}, {5, 5}, {10, 5}, {15, 5}}},
};

at::Tensor random(at::IntArrayRef shape, at::ScalarType dtype) {
  return at::randn(shape, at::TensorOptions().dtype(at::kDouble)).to(dtype);
}

double distance(const at::Tensor& a, const at::Tensor& b) {
  // Relative to the expected tensor, but for one that is zero (the scores of a single token move nothing).
  const double norm = b.to(at::kDouble).norm().item<double>();
  return a.to(at::kDouble).sub(b.to(at::kDouble)).norm().item<double>() / std::max(norm, 1e-2);
}

// Every document by itself through softmax(scale * q k' + mask) v, with autograd's operations.
at::Tensor plain(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, double scale,
                 const PackedDocuments& documents) {
  const std::int64_t group = q.size(1) / k.size(1);
  std::vector<at::Tensor> parts;
  for (const Segment& s : documents.segments) {
    const auto cut = [&](const at::Tensor& t) { return t.narrow(0, s.begin, s.length).transpose(0, 1); };
    const at::Tensor key = cut(k).repeat_interleave(group, 0), value = cut(v).repeat_interleave(group, 0);
    const at::Tensor mask =
        at::full({s.length, s.length}, -std::numeric_limits<double>::infinity(), q.options()).triu(1);
    const at::Tensor p = at::softmax(at::bmm(cut(q), key.transpose(1, 2)).mul(scale).add(mask), -1);
    parts.push_back(at::bmm(p, value).transpose(0, 1));
  }
  return at::cat(parts, 0);
}

struct Inputs {
  at::Tensor q, k, v, dout;
  Inputs(const Case& c, const PackedDocuments& d, at::ScalarType dtype)
      : q(random({d.tokens, c.heads, c.dim}, dtype)),
        k(random({d.tokens, c.kv_heads, c.dim}, dtype)),
        v(random({d.tokens, c.kv_heads, c.dim}, dtype)),
        dout(random({d.tokens, c.heads, c.dim}, dtype)) {}
};

TEST(PackedAttention, PlainFormIsAutogradsIn64Bits) {
  at::manual_seed(3);
  for (const Case& c : cases) {
    const PackedDocuments documents = PackedDocuments::make(c.segments, at::kCPU);
    Inputs in(c, documents, at::kDouble);
    for (at::Tensor* t : {&in.q, &in.k, &in.v}) t->requires_grad_(true);
    const double scale = 0.7;
    const at::Tensor expected = plain(in.q, in.k, in.v, scale, documents);
    expected.backward(in.dout);
    const at::NoGradGuard no_grad;
    const Attended got = packed_attention_reference(in.q, in.k, in.v, scale, documents);
    EXPECT_LT(distance(got.out, expected), 1e-13);
    const AttentionGradient grad =
        packed_attention_backward_reference(in.dout, in.q, in.k, in.v, got, scale, documents);
    EXPECT_LT(distance(grad.dq, in.q.grad()), 1e-12);
    EXPECT_LT(distance(grad.dk, in.k.grad()), 1e-12);
    EXPECT_LT(distance(grad.dv, in.v.grad()), 1e-12);
  }
}

TEST(PackedAttention, KernelsAgreeWithThePlainForm) {
  at::manual_seed(5);
  for (const Case& c : cases) {
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
      const PackedDocuments documents = PackedDocuments::make(c.segments, at::kCPU);
      const Inputs in(c, documents, dtype);
      const double scale = 1.0 / std::sqrt(static_cast<double>(c.dim));
      const auto wide = [](const at::Tensor& t) { return t.to(at::kDouble); };
      const Attended exact = packed_attention_reference(wide(in.q), wide(in.k), wide(in.v), scale, documents);
      const AttentionGradient slope = packed_attention_backward_reference(
          wide(in.dout), wide(in.q), wide(in.k), wide(in.v), exact, scale, documents);
      const double bound = dtype == at::kFloat ? 2e-6 : 1.2e-2;
      const Attended got = packed_attention(in.q, in.k, in.v, scale, documents);
      EXPECT_LT(distance(got.out, exact.out), bound);
      EXPECT_LT(distance(got.lse, exact.lse), bound);
      const AttentionGradient grad =
          packed_attention_backward(in.dout, in.q, in.k, in.v, got, scale, documents);
      // A single token's probabilities do not depend on its scores: what is left there is rounding.
      const double floor = documents.longest == 1 ? 1.0 : 0.0;
      EXPECT_LT(grad.dq.to(at::kDouble).sub(slope.dq).norm().item<double>(),
                bound * (slope.dq.norm().item<double>() + floor));
      EXPECT_LT(grad.dk.to(at::kDouble).sub(slope.dk).norm().item<double>(),
                bound * (slope.dk.norm().item<double>() + floor));
      EXPECT_LT(distance(grad.dv, slope.dv), bound);
      EXPECT_EQ(grad.dk.scalar_type(), dtype);
    }
  }
}

TEST(PackedAttention, DocumentsDoNotSeeEachOther) {
  at::manual_seed(11);
  const Case c = cases[1];
  const PackedDocuments documents = PackedDocuments::make(c.segments, at::kCPU);
  Inputs in(c, documents, at::kFloat);
  const Attended before = packed_attention(in.q, in.k, in.v, 0.25, documents);
  in.k.narrow(0, 0, 7).fill_(1e3);  // the first document alone
  in.v.narrow(0, 0, 7).fill_(1e3);
  const Attended after = packed_attention(in.q, in.k, in.v, 0.25, documents);
  EXPECT_TRUE(at::equal(before.out.narrow(0, 7, 21), after.out.narrow(0, 7, 21)));
  EXPECT_FALSE(at::equal(before.out.narrow(0, 0, 7), after.out.narrow(0, 0, 7)));
}

TEST(PackedAttention, OneDocumentIsTheInferenceAttention) {
  at::manual_seed(13);
  const PackedDocuments documents = PackedDocuments::make({{0, 19}}, at::kCPU);
  const Inputs in({4, 2, 16, {}}, documents, at::kFloat);
  const at::Tensor expected =
      causal_attention_reference(in.q, in.k.transpose(0, 1), in.v.transpose(0, 1), 0.25);
  const Attended got = packed_attention(in.q, in.k, in.v, 0.25, documents);
  EXPECT_LT(distance(got.out.reshape({19, 64}), expected), 1e-6);
}

TEST(PackedAttention, GapsBetweenDocumentsAreRefused) {
  EXPECT_THROW(PackedDocuments::make({{0, 3}, {4, 2}}, at::kCPU), Error);
  EXPECT_THROW(PackedDocuments::make({{0, 0}}, at::kCPU), Error);
}

}  // namespace
}  // namespace tetrad::ops

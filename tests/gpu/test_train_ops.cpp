// The CUDA kernels of a training step against the same operations written out on the host with the arithmetic
// that both share (ops/cuda/train_math.h): sums in double precision, roundings where the kernels round.
#include <gtest/gtest.h>
#include <tetrad/base/error.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "gpu/device_array.h"
#include "ops/cuda/train_kernels.h"
#include "ops/cuda/train_math.h"

namespace tetrad::ops::cuda {
namespace {

using nvfp4::from_float;
using nvfp4::to_float;
using GpuTrainOps = GpuTest;

template <class T>
std::vector<T> gaussian(std::mt19937& rng, std::int64_t n, float sigma = 1.0f) {
  std::normal_distribution<float> normal(0.0f, sigma);
  std::vector<T> out;
  for (std::int64_t i = 0; i < n; ++i) out.push_back(from_float<T>(normal(rng)));
  return out;
}

std::size_t at(std::int64_t i) {
  return static_cast<std::size_t>(i);
}

// Within `steps` neighbours of T: sums in another order end up there.
template <class T>
void expect_near(const std::vector<T>& got, const std::vector<float>& expected, int steps, const char* what,
                 float absolute = 1e-6f) {
  ASSERT_EQ(got.size(), expected.size());
  const float relative = std::ldexp(1.0f, std::is_same_v<T, Bf16> ? -7 : -10) * static_cast<float>(steps);
  for (std::size_t i = 0; i < got.size(); ++i)
    ASSERT_NEAR(to_float(got[i]), expected[i], relative * std::abs(expected[i]) + absolute)
        << what << " " << i;
}

void expect_sums(const std::vector<float>& got, const std::vector<double>& expected, double size,
                 const char* what) {
  ASSERT_EQ(got.size(), expected.size());
  for (std::size_t i = 0; i < got.size(); ++i)
    ASSERT_NEAR(got[i], expected[i], 1e-5 * (std::abs(expected[i]) + size)) << what << " " << i;
}

// Gradient of one row's norm, in place of kernels: dx before rounding, dweight added up.
template <class T>
void norm_row(const float* dy, const T* x, const T* weight, std::int64_t n, double eps, float* dx,
              double* dweight) {
  double squares = 0.0, along = 0.0;
  for (std::int64_t i = 0; i < n; ++i) {
    const double v = to_float(x[i]);
    squares += v * v;
    along += static_cast<double>(dy[i]) * to_float(weight[i]) * v;
  }
  const double inverse = 1.0 / std::sqrt(squares / static_cast<double>(n) + eps);
  for (std::int64_t i = 0; i < n; ++i) {
    const NormElement e =
        rms_norm_gradient(dy[i], to_float(x[i]), to_float(weight[i]), static_cast<float>(inverse),
                          static_cast<float>(along / static_cast<double>(n) * inverse));
    dx[i] = e.dx;
    dweight[i] += e.dweight;
  }
}

template <class T>
void norms(std::mt19937& rng, std::int64_t rows, std::int64_t n, bool pass) {
  const auto dy = gaussian<T>(rng, rows * n), x = gaussian<T>(rng, rows * n, 2.0f),
             weight = gaussian<T>(rng, n), passing = gaussian<T>(rng, rows * n);
  std::vector<float> expected(at(rows * n));
  std::vector<double> dweight(at(n), 0.0);
  for (std::int64_t r = 0; r < rows; ++r) {
    std::vector<float> up;
    for (std::int64_t i = 0; i < n; ++i) up.push_back(to_float(dy[at(r * n + i)]));
    norm_row<T>(up.data(), x.data() + r * n, weight.data(), n, 1e-6, expected.data() + r * n, dweight.data());
    for (std::int64_t i = r * n; i < (r + 1) * n; ++i)
      expected[at(i)] = stored<T>(stored<T>(expected[at(i)]) + (pass ? to_float(passing[at(i)]) : 0.0f));
  }
  DeviceArray<T> ddy(dy), dx(x), dw(weight), dp(passing), out(x.size());
  DeviceArray<float> sums(at(n)), space(at(norm_backward_workspace(rows, n)), 0xFF);
  rms_norm_backward<T>(ddy.get(), dx.get(), dw.get(), pass ? dp.get() : nullptr, 1e-6, rows, n, out.get(),
                       sums.get(), space.get(), nullptr);
  expect_near(out.host(), expected, 2, "dx", 4e-3f);
  expect_sums(sums.host(), dweight, std::sqrt(static_cast<double>(rows)), "dweight");
  const auto first = sums.host();
  rms_norm_backward<T>(ddy.get(), dx.get(), dw.get(), pass ? dp.get() : nullptr, 1e-6, rows, n, dp.get(),
                       sums.get(), space.get(), nullptr);
  EXPECT_EQ(sums.host(), first) << "a repetition, in the place of what passes by, gives the same bits";
}

TEST_F(GpuTrainOps, GradientOfANorm) {
  std::mt19937 rng(1);
  for (const std::int64_t n : {8, 64, 264, 576, 2560, 8192}) {
    for (const std::int64_t rows : {1, 3, 700}) {
      norms<Bf16>(rng, rows, n, false);
      norms<Fp16>(rng, rows, n, true);
      if (HasFatalFailure()) return;
    }
  }
  EXPECT_FALSE(takes_norm_backward(20));
  EXPECT_FALSE(takes_norm_backward(8200));
  EXPECT_THROW(rms_norm_backward<Bf16>(nullptr, nullptr, nullptr, nullptr, 0.0, 1, 20, nullptr, nullptr,
                                       nullptr, nullptr),
               Error);
}

template <class T>
void silu(std::mt19937& rng, std::int64_t n) {
  const auto dh = gaussian<T>(rng, n), gate = gaussian<T>(rng, n, 4.0f), up = gaussian<T>(rng, n);
  std::vector<float> dgate, dup, activated;
  for (std::size_t i = 0; i < dh.size(); ++i) {
    const SiluMulElement e = silu_mul_gradient<T>(to_float(dh[i]), to_float(gate[i]), to_float(up[i]));
    dgate.push_back(stored<T>(e.dgate));
    dup.push_back(stored<T>(e.dup));
    activated.push_back(stored<T>(e.activated));
  }
  DeviceArray<T> d(dh), g(gate), u(up), forward(dh.size());
  silu_mul<T>(g.get(), u.get(), n, forward.get(), nullptr);
  const auto made = forward.host();
  silu_mul_backward<T>(d.get(), g.get(), u.get(), n, nullptr);
  expect_near(g.host(), dgate, 1, "dgate");
  expect_near(u.host(), dup, 1, "dup");
  expect_near(d.host(), activated, 2, "activated");
  const auto again = d.host();
  for (std::size_t i = 0; i < made.size(); ++i)
    ASSERT_EQ(again[i].bits, made[i].bits) << "what the forward made, " << i;
}

TEST_F(GpuTrainOps, GradientOfSiluTimesUp) {
  std::mt19937 rng(2);
  for (const std::int64_t n : {1, 7, 8, 1024, 9728, 100001}) {
    silu<Bf16>(rng, n);
    silu<Fp16>(rng, n);
    if (HasFatalFailure()) return;
  }
}

template <class T>
void rotation(std::mt19937& rng, std::int64_t tokens, std::int64_t heads, std::int64_t kv_heads,
              std::int64_t dim, bool norm) {
  const std::int64_t half = dim / 2, places = 50;
  std::vector<T> cos, sin;
  for (std::int64_t p = 0; p < places; ++p) {
    for (std::int64_t i = 0; i < half; ++i) {
      const double angle = static_cast<double>(p) * std::pow(10000.0, -static_cast<double>(i) / half);
      cos.push_back(from_float<T>(static_cast<float>(std::cos(angle))));
      sin.push_back(from_float<T>(static_cast<float>(std::sin(angle))));
    }
  }
  std::vector<std::int64_t> positions;
  for (std::int64_t t = 0; t < tokens; ++t) positions.push_back((t * 17 + 5) % places);
  DeviceArray<T> dcos(cos), dsin(sin);
  DeviceArray<std::int64_t> dpositions(positions);
  DeviceArray<float> space(at(rope_rows_workspace(dim)), 0xFF);
  const auto q = gaussian<T>(rng, tokens * heads * dim), k = gaussian<T>(rng, tokens * kv_heads * dim),
             dq = gaussian<T>(rng, tokens * heads * dim), dk = gaussian<T>(rng, tokens * kv_heads * dim),
             q_weight = gaussian<T>(rng, dim), k_weight = gaussian<T>(rng, dim);
  DeviceArray<T> aq(q), ak(k), adq(dq), adk(dk), wq(q_weight), wk(k_weight), oq(q.size()), ok(k.size());
  DeviceArray<float> sq(at(dim)), sk(at(dim));
  RopeRows a;
  a.tokens = tokens;
  a.heads = heads;
  a.kv_heads = kv_heads;
  a.dim = dim;
  a.q = aq.get();
  a.k = ak.get();
  a.q_weight = norm ? wq.get() : nullptr;
  a.k_weight = norm ? wk.get() : nullptr;
  a.eps = 1e-6;
  a.cos = dcos.get();
  a.sin = dsin.get();
  a.positions = dpositions.get();
  a.q_out = oq.get();
  a.k_out = ok.get();
  a.dq = adq.get();
  a.dk = adk.get();
  a.dq_weight = sq.get();
  a.dk_weight = sk.get();
  a.workspace = space.get();

  // One side at a time; a gradient is turned back and then taken through the norm.
  const auto turned = [&](std::vector<float> head, std::int64_t token, bool back) {
    const std::int64_t row = positions[at(token)] * half;
    for (std::int64_t i = 0; i < half; ++i) {
      const float s = to_float(sin[at(row + i)]);
      const Pair p = rotate<T>({head[at(i)], head[at(i + half)]}, to_float(cos[at(row + i)]), back ? -s : s);
      head[at(i)] = p.lower;
      head[at(i + half)] = p.upper;
    }
    return head;
  };
  const auto check = [&](const std::vector<T>& x, const std::vector<T>& dy, const std::vector<T>& weight,
                         std::int64_t count, const std::vector<T>& out, const std::vector<T>& dx,
                         const std::vector<float>& dweight) {
    std::vector<float> y, expected_dx;
    std::vector<double> sums(at(dim), 0.0);
    for (std::int64_t h = 0; h < tokens * count; ++h) {
      std::vector<float> head, up;
      double squares = 0.0;
      for (std::int64_t i = 0; i < dim; ++i) {
        head.push_back(to_float(x[at(h * dim + i)]));
        up.push_back(to_float(dy[at(h * dim + i)]));
        squares += static_cast<double>(head.back()) * head.back();
      }
      const auto inverse = static_cast<float>(1.0 / std::sqrt(squares / static_cast<double>(dim) + a.eps));
      for (std::int64_t i = 0; i < dim && norm; ++i)
        head[at(i)] = stored<T>(stored<T>(head[at(i)] * inverse) * to_float(weight[at(i)]));
      for (const float v : turned(head, h / count, false)) y.push_back(v);
      up = turned(up, h / count, true);
      if (norm) {
        std::vector<float> before(at(dim));
        norm_row<T>(up.data(), x.data() + h * dim, weight.data(), dim, a.eps, before.data(), sums.data());
        for (const float v : before) expected_dx.push_back(stored<T>(v));
      } else {
        for (const float v : up) expected_dx.push_back(v);
      }
    }
    expect_near(out, y, 3, "forward", norm ? 2e-2f : 0.0f);  // a sum of two roundings may cancel
    expect_near(dx, expected_dx, 2, "backward", norm ? 4e-3f : 0.0f);
    if (norm) expect_sums(dweight, sums, 3.0 * std::sqrt(static_cast<double>(tokens * count)), "dweight");
  };
  rope_rows<T>(a, nullptr);
  const auto q_made = oq.host(), k_made = ok.host();
  rope_rows_backward<T>(a, nullptr);
  check(q, dq, q_weight, heads, q_made, oq.host(), sq.host());
  if (testing::Test::HasFatalFailure()) return;
  check(k, dk, k_weight, kv_heads, k_made, ok.host(), sk.host());
}

TEST_F(GpuTrainOps, NormAndRotationOfRowsAndTheirGradient) {
  std::mt19937 rng(3);
  for (const std::int64_t dim : {64, 128, 256}) {
    for (const std::int64_t tokens : {1, 5, 300}) {
      rotation<Bf16>(rng, tokens, 8, 2, dim, true);
      rotation<Fp16>(rng, tokens, 3, 1, dim, true);
      rotation<Bf16>(rng, tokens, 4, 4, dim, false);
      if (HasFatalFailure()) return;
    }
  }
  EXPECT_FALSE(takes_rope_rows(80));
  RopeRows wrong;
  wrong.tokens = wrong.heads = wrong.kv_heads = 1;
  wrong.dim = 80;
  EXPECT_THROW(rope_rows<Bf16>(wrong, nullptr), Error);
}

template <class T>
void entropy(std::mt19937& rng, std::int64_t rows, std::int64_t words, std::int64_t tile) {
  const auto logits = gaussian<T>(rng, rows * words, 6.0f);
  std::vector<std::int64_t> targets;
  for (std::int64_t r = 0; r < rows; ++r) targets.push_back(r == 0 ? words - 1 : (r * 7919) % words);
  const float none = -std::numeric_limits<float>::infinity();
  DeviceArray<std::int64_t> dtargets(targets);
  DeviceArray<float> largest(std::vector<float>(at(rows), none)), sum(at(rows)), at_target(at(rows));
  const auto tiles = [&](auto&& visit) {
    for (std::int64_t first = 0; first < words; first += tile) {
      const std::int64_t n = std::min(tile, words - first);
      std::vector<T> part;
      for (std::int64_t r = 0; r < rows; ++r)
        part.insert(part.end(), logits.begin() + r * words + first, logits.begin() + r * words + first + n);
      DeviceArray<T> on_device(part);
      visit(on_device, first, n);
    }
  };
  tiles([&](DeviceArray<T>& part, std::int64_t first, std::int64_t n) {
    cross_entropy_observe<T>(part.get(), rows, n, dtargets.get(), first, largest.get(), sum.get(),
                             at_target.get(), nullptr);
  });
  std::vector<double> lse;
  const auto got_largest = largest.host(), got_sum = sum.host(), got_target = at_target.host();
  for (std::int64_t r = 0; r < rows; ++r) {
    double most = none, total = 0.0;
    for (std::int64_t w = 0; w < words; ++w)
      most = std::max<double>(most, to_float(logits[at(r * words + w)]));
    for (std::int64_t w = 0; w < words; ++w) total += std::exp(to_float(logits[at(r * words + w)]) - most);
    lse.push_back(std::log(total) + most);
    ASSERT_EQ(got_largest[at(r)], static_cast<float>(most)) << r;
    ASSERT_NEAR(got_sum[at(r)], total, 1e-5 * total) << r;
    ASSERT_EQ(got_target[at(r)], to_float(logits[at(r * words + targets[at(r)])])) << r;
  }
  tiles([&](DeviceArray<T>& part, std::int64_t first, std::int64_t n) {
    cross_entropy_gradient<T>(part.get(), rows, n, dtargets.get(), first, largest.get(), sum.get(), 0.125f,
                              nullptr);
    std::vector<float> expected;
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t w = first; w < first + n; ++w)
        expected.push_back(
            stored<T>(entropy_gradient(to_float(logits[at(r * words + w)]), static_cast<float>(lse[at(r)]),
                                       w == targets[at(r)], 0.125f)));
    expect_near(part.host(), expected, 1, "gradient", 1e-6f);
  });
}

TEST_F(GpuTrainOps, CrossEntropyByTiles) {
  std::mt19937 rng(4);
  for (const auto& [words, tile] : std::vector<std::pair<std::int64_t, std::int64_t>>{
           {1, 1}, {53, 7}, {1000, 1000}, {5000, 1024}, {40000, 32768}}) {
    for (const std::int64_t rows : {1, 6}) {
      entropy<Bf16>(rng, rows, words, tile);
      entropy<Fp16>(rng, rows, words, tile);
      if (HasFatalFailure()) return;
    }
  }
}

TEST_F(GpuTrainOps, CrossEntropyOfWhatIsNotFinite) {
  const float none = -std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  std::vector<Bf16> logits(3 * 600, from_float<Bf16>(none));
  logits[5] = from_float<Bf16>(2.0f);         // row 0: one word is possible
  logits[600 + 599] = from_float<Bf16>(nan);  // row 1: a NaN among what is impossible
  for (std::size_t i = 1200; i < 1800; ++i) logits[i] = from_float<Bf16>(1.0f);
  logits[1300] = from_float<Bf16>(nan);
  DeviceArray<Bf16> d(logits);
  DeviceArray<std::int64_t> targets(std::vector<std::int64_t>{5, 0, 0});
  DeviceArray<float> largest(std::vector<float>(3, none)), sum(3), at_target(3);
  cross_entropy_observe<Bf16>(d.get(), 3, 600, targets.get(), 0, largest.get(), sum.get(), at_target.get(),
                              nullptr);
  const auto got = sum.host();
  EXPECT_EQ(got[0], 1.0f);
  EXPECT_EQ(largest.host()[0], 2.0f);
  EXPECT_TRUE(std::isnan(got[1]));
  EXPECT_TRUE(std::isnan(got[2]));
}

template <class T>
void measured(std::mt19937& rng, std::int64_t n, std::size_t bad) {
  auto values = gaussian<T>(rng, n, 1e-3f);
  double squares = 0.0;
  float amax = 0.0f;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (i == bad) continue;
    squares += static_cast<double>(to_float(values[i])) * to_float(values[i]);
    amax = std::max(amax, std::abs(to_float(values[i])));
  }
  if (bad < values.size()) values[bad] = from_float<T>(std::numeric_limits<float>::infinity());
  const nvfp4::EncodeOptions options;
  const nvfp4::GlobalScale expected = nvfp4::global_scale(amax, options);
  DeviceArray<T> d(values);
  DeviceArray<float> norm(1);
  DeviceArray<nvfp4::GlobalScale> global(1);
  DeviceArray<std::uint8_t> space(at(measure_workspace()), 0xFF);
  measure<T>(d.get(), n, options, norm.get(), global.get(), space.get(), nullptr);
  EXPECT_EQ(global.host()[0].decode, expected.decode);
  EXPECT_EQ(global.host()[0].encode, expected.encode);
  if (bad < values.size())
    EXPECT_TRUE(std::isinf(norm.host()[0]));
  else
    EXPECT_NEAR(norm.host()[0], std::sqrt(squares), 1e-5 * std::sqrt(squares));
}

TEST_F(GpuTrainOps, NormAndScaleOfAGradient) {
  std::mt19937 rng(5);
  for (const std::int64_t n : {1, 15, 16, 4097, 3000003}) {
    for (const std::size_t bad : {SIZE_MAX, std::size_t{0}}) {
      measured<float>(rng, n, bad);
      measured<Bf16>(rng, n, bad);
      measured<Fp16>(rng, n, bad);
    }
  }
}

}  // namespace
}  // namespace tetrad::ops::cuda

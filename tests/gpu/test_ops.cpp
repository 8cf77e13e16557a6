// The CUDA kernels of core/ops against the same operations written out on the host, rounding by rounding;
// attention against double precision.
#include <gtest/gtest.h>
#include <tetrad/base/error.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "gpu/device_array.h"
#include "ops/cuda/kernels.h"

namespace tetrad::ops::cuda {
namespace {

using nvfp4::from_float;
using nvfp4::to_float;
using GpuOps = GpuTest;

template <class T>
std::vector<T> gaussian(std::mt19937& rng, std::int64_t n, float sigma = 1.0f) {
  std::normal_distribution<float> normal(0.0f, sigma);
  std::vector<T> out;
  for (std::int64_t i = 0; i < n; ++i) out.push_back(from_float<T>(normal(rng)));
  return out;
}

template <class T>
float rounded(float v) {
  return to_float(from_float<T>(v));
}

// Two T that differ by `steps` neighbours at most: sums in another order end up there.
template <class T>
void expect_near(const std::vector<T>& got, const std::vector<float>& expected, int steps, const char* what) {
  ASSERT_EQ(got.size(), expected.size());
  const float relative = std::ldexp(1.0f, std::is_same_v<T, Bf16> ? -7 : -10) * static_cast<float>(steps);
  for (std::size_t i = 0; i < got.size(); ++i)
    ASSERT_NEAR(to_float(got[i]), expected[i], relative * std::abs(expected[i]) + 1e-6f) << what << " " << i;
}

template <class T>
void norms(std::mt19937& rng, std::int64_t rows, std::int64_t n, bool add) {
  const auto x = gaussian<T>(rng, rows * n), delta = gaussian<T>(rng, rows * n), weight = gaussian<T>(rng, n);
  const double eps = 1e-6;
  std::vector<float> sums, normed;
  for (std::int64_t r = 0; r < rows; ++r) {
    double squares = 0.0;
    for (std::int64_t i = 0; i < n; ++i) {
      const auto at = static_cast<std::size_t>(r * n + i);
      sums.push_back(add ? rounded<T>(to_float(x[at]) + to_float(delta[at])) : to_float(x[at]));
      squares += static_cast<double>(sums.back()) * sums.back();
    }
    const auto inverse = static_cast<float>(1.0 / std::sqrt(squares / static_cast<double>(n) + eps));
    for (std::int64_t i = 0; i < n; ++i)
      normed.push_back(rounded<T>(rounded<T>(sums[static_cast<std::size_t>(r * n + i)] * inverse) *
                                  to_float(weight[static_cast<std::size_t>(i)])));
  }
  DeviceArray<T> dx(x), ddelta(delta), dweight(weight), dsum(x.size()), dy(x.size());
  add_rms_norm<T>(dx.get(), add ? ddelta.get() : nullptr, dweight.get(), eps, rows, n, dsum.get(), dy.get(),
                  nullptr);
  if (add) expect_near(dsum.host(), sums, 0, "sum");
  expect_near(dy.host(), normed, 2, "norm");
}

TEST_F(GpuOps, NormsWithAndWithoutTheResidual) {
  std::mt19937 rng(1);
  for (const std::int64_t n : {1, 7, 64, 576, 1023, 2560, 9728, 20000}) {
    for (const std::int64_t rows : {1, 3}) {
      for (const bool add : {false, true}) {
        norms<Bf16>(rng, rows, n, add);
        norms<Fp16>(rng, rows, n, add);
        if (HasFatalFailure()) return;
      }
    }
  }
}

template <class T>
void silu(std::mt19937& rng, std::int64_t n) {
  const auto gate = gaussian<T>(rng, n, 4.0f), up = gaussian<T>(rng, n);
  std::vector<float> expected;
  for (std::size_t i = 0; i < gate.size(); ++i) {
    const float g = to_float(gate[i]);
    expected.push_back(rounded<T>(rounded<T>(g / (1.0f + std::exp(-g))) * to_float(up[i])));
  }
  DeviceArray<T> dg(gate), du(up), out(gate.size());
  silu_mul<T>(dg.get(), du.get(), n, out.get(), nullptr);
  expect_near(out.host(), expected, 2, "silu");
}

TEST_F(GpuOps, SiluTimesUp) {
  std::mt19937 rng(2);
  for (const std::int64_t n : {1, 5, 8, 1536, 9728, 100001}) {
    silu<Bf16>(rng, n);
    silu<Fp16>(rng, n);
    if (HasFatalFailure()) return;
  }
}

template <class T>
void rotation(std::mt19937& rng, std::int64_t tokens, std::int64_t heads, std::int64_t kv_heads,
              std::int64_t dim, bool norm, bool to_slots, bool position_on_device) {
  const std::int64_t begin = 11, half = dim / 2, capacity = begin + tokens + 3;
  const std::int64_t q_stride = heads * dim + 8, kv_stride = kv_heads * dim;
  const auto q = gaussian<T>(rng, tokens * q_stride), k = gaussian<T>(rng, tokens * kv_stride),
             v = gaussian<T>(rng, tokens * kv_stride), q_weight = gaussian<T>(rng, dim),
             k_weight = gaussian<T>(rng, dim);
  std::vector<T> cos, sin;
  for (std::int64_t p = 0; p < begin + tokens; ++p) {
    for (std::int64_t i = 0; i < half; ++i) {
      const double angle =
          static_cast<double>(p) * std::pow(10000.0, -static_cast<double>(i) / static_cast<double>(half));
      cos.push_back(from_float<T>(static_cast<float>(std::cos(angle))));
      sin.push_back(from_float<T>(static_cast<float>(std::sin(angle))));
    }
  }
  const double eps = 1e-6;
  const auto rotated = [&](const std::vector<T>& x, std::int64_t stride, std::int64_t token,
                           std::int64_t head, const std::vector<T>& weight) {
    std::vector<float> in, out(static_cast<std::size_t>(dim));
    double squares = 0.0;
    for (std::int64_t i = 0; i < dim; ++i) {
      in.push_back(to_float(x[static_cast<std::size_t>(token * stride + head * dim + i)]));
      squares += static_cast<double>(in.back()) * in.back();
    }
    const auto inverse = static_cast<float>(1.0 / std::sqrt(squares / static_cast<double>(dim) + eps));
    for (std::size_t i = 0; i < in.size() && norm; ++i)
      in[i] = rounded<T>(rounded<T>(in[i] * inverse) * to_float(weight[i]));
    for (std::int64_t i = 0; i < half; ++i) {
      const auto low = static_cast<std::size_t>(i), high = static_cast<std::size_t>(i + half);
      const auto at = static_cast<std::size_t>((begin + token) * half + i);
      const float c = to_float(cos[at]), n = to_float(sin[at]);
      out[low] = rounded<T>(rounded<T>(in[low] * c) - rounded<T>(in[high] * n));
      out[high] = rounded<T>(rounded<T>(in[high] * c) + rounded<T>(in[low] * n));
    }
    return out;
  };

  DeviceArray<T> dq(q), dk(k), dv(v), dq_weight(q_weight), dk_weight(k_weight);
  DeviceArray<T> dcos(cos), dsin(sin);
  DeviceArray<std::int64_t> position(std::vector<std::int64_t>{begin - 4});
  const std::int64_t slots = to_slots ? capacity : tokens;
  DeviceArray<T> q_out(static_cast<std::size_t>(tokens * heads * dim)),
      k_out(static_cast<std::size_t>(kv_heads * slots * dim)),
      v_out(static_cast<std::size_t>(kv_heads * slots * dim));
  QkNormRope a;
  a.q = dq.get();
  a.k = dk.get();
  a.v = to_slots ? dv.get() : nullptr;
  a.q_stride = q_stride;
  a.k_stride = a.v_stride = kv_stride;
  a.tokens = tokens;
  a.heads = heads;
  a.kv_heads = kv_heads;
  a.dim = dim;
  a.q_weight = norm ? dq_weight.get() : nullptr;
  a.k_weight = norm ? dk_weight.get() : nullptr;
  a.eps = eps;
  a.cos = dcos.get();
  a.sin = dsin.get();
  a.begin = position_on_device ? Count{position.get(), 4} : Count{nullptr, begin};
  a.q_out = q_out.get();
  a.k_out = k_out.get();
  a.v_out = v_out.get();
  a.out_head_stride = to_slots ? capacity * dim : dim;
  a.out_token_stride = to_slots ? dim : kv_heads * dim;
  a.to_slots = to_slots;
  qk_norm_rope<T>(a, nullptr);

  const std::vector<T> got_q = q_out.host(), got_k = k_out.host(), got_v = v_out.host();
  const float tolerance = std::is_same_v<T, Bf16> ? 0.03f : 0.004f;  // of values up to about 4 before the sum
  std::vector<bool> touched(got_k.size(), false);
  for (std::int64_t t = 0; t < tokens; ++t) {
    for (std::int64_t h = 0; h < heads; ++h) {
      const auto expected = rotated(q, q_stride, t, h, q_weight);
      for (std::int64_t i = 0; i < dim; ++i)
        ASSERT_NEAR(to_float(got_q[static_cast<std::size_t>((t * heads + h) * dim + i)]),
                    expected[static_cast<std::size_t>(i)],
                    tolerance * (1 + std::abs(expected[static_cast<std::size_t>(i)])));
    }
    for (std::int64_t h = 0; h < kv_heads; ++h) {
      const auto expected = rotated(k, kv_stride, t, h, k_weight);
      const std::int64_t slot = to_slots ? begin + t : t;
      for (std::int64_t i = 0; i < dim; ++i) {
        const auto at = static_cast<std::size_t>(h * a.out_head_stride + slot * a.out_token_stride + i);
        touched[at] = true;
        ASSERT_NEAR(to_float(got_k[at]), expected[static_cast<std::size_t>(i)],
                    tolerance * (1 + std::abs(expected[static_cast<std::size_t>(i)])));
        if (to_slots) {
          ASSERT_EQ(got_v[at].bits, v[static_cast<std::size_t>(t * kv_stride + h * dim + i)].bits);
        }
      }
    }
  }
  for (std::size_t i = 0; i < touched.size(); ++i) {
    if (!touched[i]) {
      ASSERT_EQ(got_k[i].bits, 0) << "a slot was written that is not the tokens'";
    }
  }
}

TEST_F(GpuOps, NormAndRotationOfQueriesAndKeys) {
  std::mt19937 rng(3);
  for (const std::int64_t dim : {64, 128, 96, 256}) {
    for (const bool norm : {false, true}) {
      for (const bool to_slots : {false, true}) {
        rotation<Bf16>(rng, 1, 9, 3, dim, norm, to_slots, to_slots);
        rotation<Fp16>(rng, 5, 4, 2, dim, norm, to_slots, false);
        if (HasFatalFailure()) return;
      }
    }
  }
}

template <class T>
void attention(std::mt19937& rng, DeviceArray<std::uint8_t>& workspace, std::int64_t heads,
               std::int64_t kv_heads, std::int64_t dim, std::int64_t length, bool length_on_device) {
  const std::int64_t capacity = length + 5;
  const float scale = 1.0f / std::sqrt(static_cast<float>(dim));
  auto q = gaussian<T>(rng, heads * dim, 2.0f);
  auto k = gaussian<T>(rng, kv_heads * capacity * dim), v = gaussian<T>(rng, kv_heads * capacity * dim);
  for (std::int64_t h = 0; h < kv_heads; ++h) {  // what lies behind the end must not matter
    for (std::int64_t i = length * dim; i < capacity * dim; ++i)
      k[static_cast<std::size_t>(h * capacity * dim + i)] =
          v[static_cast<std::size_t>(h * capacity * dim + i)] =
              from_float<T>(std::numeric_limits<float>::quiet_NaN());
  }
  DeviceArray<T> dq(q), dk(k), dv(v), out(static_cast<std::size_t>(heads * dim));
  DeviceArray<std::int64_t> position(std::vector<std::int64_t>{length - 1});
  DecodeAttention a;
  a.q = dq.get();
  a.k = dk.get();
  a.v = dv.get();
  a.heads = heads;
  a.kv_heads = kv_heads;
  a.dim = dim;
  a.k_head_stride = a.v_head_stride = capacity * dim;
  a.k_token_stride = a.v_token_stride = dim;
  a.length = length_on_device ? Count{position.get(), 1} : Count{nullptr, length};
  a.scale = scale;
  a.out = out.get();
  a.workspace = workspace.get();
  std::vector<T> first;
  for (int repeat = 0; repeat < 3; ++repeat) {  // the counters begin anew, and the result is the same
    decode_attention<T>(a, nullptr);
    const std::vector<T> got = out.host();
    if (repeat == 0) first = got;
    ASSERT_EQ(std::memcmp(got.data(), first.data(), got.size() * sizeof(T)), 0);
  }
  for (std::int64_t h = 0; h < heads; ++h) {
    const std::int64_t base = h / (heads / kv_heads) * capacity * dim;
    std::vector<double> score;
    double most = -1e300, total = 0.0;
    for (std::int64_t s = 0; s < length; ++s) {
      double dot = 0.0;
      for (std::int64_t i = 0; i < dim; ++i)
        dot += static_cast<double>(to_float(q[static_cast<std::size_t>(h * dim + i)])) *
               to_float(k[static_cast<std::size_t>(base + s * dim + i)]);
      score.push_back(dot * scale);
      most = std::max(most, score.back());
    }
    for (double& s : score) total += s = std::exp(s - most);
    for (std::int64_t i = 0; i < dim; ++i) {
      double expected = 0.0;
      for (std::int64_t s = 0; s < length; ++s)
        expected += score[static_cast<std::size_t>(s)] / total *
                    to_float(v[static_cast<std::size_t>(base + s * dim + i)]);
      ASSERT_NEAR(to_float(first[static_cast<std::size_t>(h * dim + i)]), expected,
                  std::abs(expected) * (std::is_same_v<T, Bf16> ? 0.005 : 0.0007) + 2e-4)
          << heads << "/" << kv_heads << " dim " << dim << " length " << length << " head " << h;
    }
  }
}

TEST_F(GpuOps, DecodeAttention) {
  std::mt19937 rng(4);
  // One for all shapes: no call may leave what the next takes for a counter.
  DeviceArray<std::uint8_t> workspace(static_cast<std::size_t>(decode_attention_workspace(40, 256)));
  struct Heads {
    std::int64_t q, kv;
  };
  for (const Heads heads :
       {Heads{9, 3}, Heads{32, 8}, Heads{2, 2}, Heads{16, 8}, Heads{40, 8}, Heads{8, 1}}) {
    for (const std::int64_t dim : {64, 128, 256}) {
      for (const std::int64_t length : {1, 2, 63, 64, 65, 300, 1025, 4100}) {
        if (dim == 256 && length > 1025) continue;
        attention<Bf16>(rng, workspace, heads.q, heads.kv, dim, length, length % 2 == 0);
        attention<Fp16>(rng, workspace, heads.q, heads.kv, dim, length, length % 2 != 0);
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST_F(GpuOps, BestOfLogits) {
  std::mt19937 rng(5);
  DeviceArray<Best> workspace(kBestBlocks + 1), best(1);
  for (const std::int64_t n : {1, 2, 511, 49152, 151936}) {
    for (int round = 0; round < 4; ++round) {
      std::vector<float> x;
      std::normal_distribution<float> normal;
      for (std::int64_t i = 0; i < n; ++i) x.push_back(std::round(normal(rng) * 8.0f));  // many ties
      if (round == 3) x[static_cast<std::size_t>(n / 2)] = std::numeric_limits<float>::infinity();
      DeviceArray<float> dx(x);
      best_of(dx.get(), n, best.get(), workspace.get(), nullptr);
      const Best got = best.host()[0];
      ASSERT_EQ(got.finite, round == 3 ? 0 : 1);
      if (round == 3) continue;
      const auto at = std::max_element(x.begin(), x.end());
      ASSERT_EQ(got.id, at - x.begin()) << n;
      ASSERT_EQ(got.top1, *at);
      *at = -std::numeric_limits<float>::infinity();
      ASSERT_EQ(got.top2, *std::max_element(x.begin(), x.end()));
    }
  }
}

}  // namespace
}  // namespace tetrad::ops::cuda

// The CUDA kernels behind core/ops, with plain device pointers: what a decoder layer needs besides its
// products. They round where the CPU's plain operations round (norm.h, rope.h, activation.h), so the two
// differ by the order of fp32 sums alone. T is nvfp4::Bf16 or nvfp4::Fp16. All only enqueue on `stream`; a
// position or length that is given as a device pointer is read by the kernel, so that a captured graph serves
// every step. They throw tetrad::Error(runtime) when a launch is refused.
#pragma once

#include <tetrad/nvfp4/half.h>

#include <cstdint>

#include "ops/sampling.h"

struct CUstream_st;

namespace tetrad::ops::cuda {

using Stream = CUstream_st*;
using nvfp4::Bf16;
using nvfp4::Fp16;

// A number that the kernel reads: *device (0 without one) + host.
struct Count {
  const std::int64_t* device = nullptr;
  std::int64_t host = 0;
};

// sum = T(x + delta), y = T(T(sum / rms) * weight), both [rows, n] dense, x and delta too. delta null: sum is
// x, and not stored. sum may be x.
template <class T>
void add_rms_norm(const T* x, const T* delta, const T* weight, double eps, std::int64_t rows, std::int64_t n,
                  T* sum, T* y, Stream stream);

// Per head: rms norm (weights null: none), then rotation by cos and sin, T [positions, dim / 2], from
// position `begin` on; products and sums are each rounded to T (rope.h). q [tokens, heads, dim] with token
// stride, to q_out dense. k [tokens, kv_heads, dim] to k_out + head * out_head_stride + (slot + token) *
// out_token_stride, and, with v, v there in v_out unchanged; slot is begin when `to_slots`, else 0. dim is
// even and at most 512.
struct QkNormRope {
  const void *q = nullptr, *k = nullptr, *v = nullptr;
  std::int64_t q_stride = 0, k_stride = 0, v_stride = 0;  // elements from token to token
  std::int64_t tokens = 0, heads = 0, kv_heads = 0, dim = 0;
  const void *q_weight = nullptr, *k_weight = nullptr;
  double eps = 0.0;
  const void *cos = nullptr, *sin = nullptr;  // of T
  Count begin;
  void *q_out = nullptr, *k_out = nullptr, *v_out = nullptr;
  std::int64_t out_head_stride = 0, out_token_stride = 0;
  bool to_slots = false;
};
template <class T>
void qk_norm_rope(const QkNormRope& args, Stream stream);

// out = T(T(silu(gate)) * up), n elements each.
template <class T>
void silu_mul(const T* gate, const T* up, std::int64_t n, T* out, Stream stream);

// One query against keys and values [kv_heads, length, dim], head_stride and token_stride elements apart,
// rows contiguous and 16-byte aligned: out [heads, dim] = softmax(scale * q . k) v in fp32, rounded once.
// Each key and value is read once for all query heads of its group. heads / kv_heads at most 8; dim 64, 128
// or 256. length >= 1.
struct DecodeAttention {
  const void *q = nullptr, *k = nullptr, *v = nullptr;
  std::int64_t heads = 0, kv_heads = 0, dim = 0;
  std::int64_t k_head_stride = 0, k_token_stride = 0, v_head_stride = 0, v_token_stride = 0;
  Count length;
  float scale = 1.0f;
  void* out = nullptr;
  // decode_attention_workspace() bytes, zeroed once before its first use; calls of any shapes may share one.
  void* workspace = nullptr;
};
bool takes_decode_attention(std::int64_t heads, std::int64_t kv_heads, std::int64_t dim);
std::int64_t decode_attention_workspace(std::int64_t heads, std::int64_t dim);
template <class T>
void decode_attention(const DecodeAttention& args, Stream stream);

// The two largest of n fp32 values; the lowest index wins a tie.
struct Best {
  std::int32_t id = 0;
  std::int32_t finite = 1;  // 0: some value was NaN or infinite, and the rest means nothing
  float top1 = 0.0f, top2 = 0.0f;
};
inline constexpr std::int64_t kBestBlocks = 64;
// workspace: kBestBlocks + 1 Best, zeroed once before its first use.
void best_of(const float* values, std::int64_t n, Best* best, void* workspace, Stream stream);

// A token of n logits by the rule of ops/sampling.h, the one that generate/sampler.h chooses on the host.
struct Sampling {
  SamplingRule rule;
  std::uint64_t bits = 0;              // sampling_bits of the draw
  const std::uint8_t* seen = nullptr;  // n bytes, not 0: the penalty applies; null: to none
};
struct Sampled {
  Best best;                // after the penalty; id is the choice. Not finite: the rest means nothing
  std::int32_t served = 1;  // 0: the cuts leave more tokens than the kernel holds, and the host has to choose
};
inline constexpr std::int64_t kMaxTopK = 512;
// n at most kMaxSampled, top_k at most kMaxTopK.
void sample(const float* logits, std::int64_t n, const Sampling& sampling, Sampled* out, Stream stream);

}  // namespace tetrad::ops::cuda

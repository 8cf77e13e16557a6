// Decode attention, split over the tokens: a block takes one KV head and a slice of the tokens, for all query
// heads of the group, so that keys and values are read once. A token's row is held by dim / 8 lanes, eight
// elements each; each such group of lanes runs its own online softmax, and the partial results are merged
// within the warp, the block, and, by the block that finishes last, over the slices, always in the same
// order.
#include "ops/cuda/device.cuh"

namespace tetrad::ops::cuda {
namespace {

constexpr int kLoads = 4;  // tokens in flight per group of lanes
constexpr int kMaxSplits = 64;
constexpr int kProcessors = 132;  // of a large device; a constant, so that sums do not depend on the device

int splits_for(std::int64_t kv_heads) {
  return static_cast<int>(std::clamp<std::int64_t>(kProcessors / kv_heads, 1, kMaxSplits));
}

__device__ float minus_infinity() {
  return nvfp4::bits_float(0xFF800000u);
}

// exp2(a - b) for a <= b, 0 where a is minus infinity (b may be too).
__device__ float decay(float a, float b) {
  return a == minus_infinity() ? 0.0f : exp2f(a - b);
}

template <class T, int kDim, int kGroup>
struct Shape {
  static constexpr int kLanes = kDim / 8;      // that hold one token
  static constexpr int kTokens = 32 / kLanes;  // that a warp loads at a time
  static constexpr int kWarps = kDim == 256 ? 4 : 8;
  static constexpr int kTile = kTokens * kLoads;  // tokens of a warp's turn
  static constexpr int kPartial = kDim + 2;       // sums, maximum, weight
};

template <class T, int kDim, int kGroup>
__global__ void __launch_bounds__(Shape<T, kDim, kGroup>::kWarps * 32)
    decode_attention_kernel(const __grid_constant__ DecodeAttention a, int splits, float* partials,
                            unsigned* arrived) {
  using S = Shape<T, kDim, kGroup>;
  let_next_start();
  wait_for_previous();
  __shared__ float shared[S::kWarps][kGroup][S::kPartial];
  const int kv_head = static_cast<int>(blockIdx.x), split = static_cast<int>(blockIdx.y);
  const int group = static_cast<int>(a.heads / a.kv_heads);
  const int length = static_cast<int>(value_of(a.length));
  constexpr int kBlockTile = S::kTile * S::kWarps;
  const int slice = ((length + splits - 1) / splits + kBlockTile - 1) / kBlockTile * kBlockTile;
  const int active = (length + slice - 1) / slice;
  if (split >= active) return;
  const int begin = split * slice, end = min(length, begin + slice);

  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int sub = lane / S::kLanes, part = lane % S::kLanes;
  const T* k = static_cast<const T*>(a.k) + kv_head * a.k_head_stride + part * 8;
  const T* v = static_cast<const T*>(a.v) + kv_head * a.v_head_stride + part * 8;

  float q[kGroup][8], sums[kGroup][8], most[kGroup], weight[kGroup];
#pragma unroll
  for (int g = 0; g < kGroup; ++g) {
    const T* from =
        static_cast<const T*>(a.q) + (static_cast<std::int64_t>(kv_head) * group + g) * kDim + part * 8;
#pragma unroll
    for (int e = 0; e < 8; ++e) {
      // Scores in units of log2(e), so that exp2 serves.
      q[g][e] = g < group ? to_float(from[e]) * (a.scale * 1.44269504f) : 0.0f;
      sums[g][e] = 0.0f;
    }
    most[g] = minus_infinity();
    weight[g] = 0.0f;
  }

  for (int first = begin + warp * S::kTile; first < end; first += kBlockTile) {
    Vector<T, 8> keys[kLoads], values[kLoads];
#pragma unroll
    for (int u = 0; u < kLoads; ++u) {
      // A token behind the end repeats the last one and weighs nothing.
      const std::int64_t token = min(first + u * S::kTokens + sub, end - 1);
      keys[u] = load<T, 8>(k + token * a.k_token_stride);
      values[u] = load<T, 8>(v + token * a.v_token_stride);
    }
    float score[kLoads][kGroup];
#pragma unroll
    for (int u = 0; u < kLoads; ++u) {
      float key[8];
#pragma unroll
      for (int e = 0; e < 8; ++e) key[e] = to_float(keys[u].element[e]);
#pragma unroll
      for (int g = 0; g < kGroup; ++g) {
        float dot = 0.0f;
#pragma unroll
        for (int e = 0; e < 8; ++e) dot = fmaf(q[g][e], key[e], dot);
#pragma unroll
        for (int step = S::kLanes / 2; step > 0; step /= 2) dot += __shfl_xor_sync(0xFFFFFFFFu, dot, step);
        score[u][g] = first + u * S::kTokens + sub < end ? dot : minus_infinity();
      }
    }
#pragma unroll
    for (int g = 0; g < kGroup; ++g) {
      float top = most[g];
#pragma unroll
      for (int u = 0; u < kLoads; ++u) top = fmaxf(top, score[u][g]);
      const float keep = decay(most[g], top);
      most[g] = top;
      weight[g] *= keep;
#pragma unroll
      for (int e = 0; e < 8; ++e) sums[g][e] *= keep;
#pragma unroll
      for (int u = 0; u < kLoads; ++u) {
        score[u][g] = decay(score[u][g], top);
        weight[g] += score[u][g];
      }
    }
#pragma unroll
    for (int u = 0; u < kLoads; ++u) {
#pragma unroll
      for (int e = 0; e < 8; ++e) {
        const float value = to_float(values[u].element[e]);
#pragma unroll
        for (int g = 0; g < kGroup; ++g) sums[g][e] = fmaf(score[u][g], value, sums[g][e]);
      }
    }
  }

  // The groups of lanes of a warp.
#pragma unroll
  for (int step = S::kLanes; step < 32; step *= 2) {
#pragma unroll
    for (int g = 0; g < kGroup; ++g) {
      const float other = __shfl_xor_sync(0xFFFFFFFFu, most[g], step);
      const float top = fmaxf(most[g], other);
      const float keep = decay(most[g], top), take = decay(other, top);
      const float other_weight = __shfl_xor_sync(0xFFFFFFFFu, weight[g], step);
      weight[g] = weight[g] * keep + other_weight * take;
#pragma unroll
      for (int e = 0; e < 8; ++e) {
        const float other_sum = __shfl_xor_sync(0xFFFFFFFFu, sums[g][e], step);
        sums[g][e] = sums[g][e] * keep + other_sum * take;
      }
      most[g] = top;
    }
  }
  if (sub == 0) {
#pragma unroll
    for (int g = 0; g < kGroup; ++g) {
#pragma unroll
      for (int e = 0; e < 8; ++e) shared[warp][g][part * 8 + e] = sums[g][e];
      if (part == 0) {
        shared[warp][g][kDim] = most[g];
        shared[warp][g][kDim + 1] = weight[g];
      }
    }
  }
  __syncthreads();

  // The warps of the block: thread by thread one element of one head.
  T* out = static_cast<T*>(a.out);
  for (int i = static_cast<int>(threadIdx.x); i < group * kDim; i += S::kWarps * 32) {
    const int g = i / kDim, e = i % kDim;
    float top = minus_infinity(), sum = 0.0f, total = 0.0f;
    for (int w = 0; w < S::kWarps; ++w) top = fmaxf(top, shared[w][g][kDim]);
    for (int w = 0; w < S::kWarps; ++w) {
      const float take = decay(shared[w][g][kDim], top);
      sum += shared[w][g][e] * take;
      total += shared[w][g][kDim + 1] * take;
    }
    const std::int64_t head = static_cast<std::int64_t>(kv_head) * group + g;
    if (active == 1) {
      out[head * kDim + e] = from_float<T>(sum / total);
    } else {
      float* to = partials + (head * kMaxSplits + split) * S::kPartial;
      to[e] = sum;
      if (e == 0) {
        to[kDim] = top;
        to[kDim + 1] = total;
      }
    }
  }
  if (active == 1) return;

  // The slices.
  __threadfence();
  __syncthreads();
  __shared__ bool last;
  if (threadIdx.x == 0) {
    const unsigned others = static_cast<unsigned>(active) - 1;
    last = atomicInc(arrived + kv_head, others) == others;  // begins anew at 0 for the next launch
  }
  __syncthreads();
  if (!last) return;
  __threadfence();
  for (int i = static_cast<int>(threadIdx.x); i < group * kDim; i += S::kWarps * 32) {
    const int g = i / kDim, e = i % kDim;
    const std::int64_t head = static_cast<std::int64_t>(kv_head) * group + g;
    const float* from = partials + head * kMaxSplits * S::kPartial;
    float top = minus_infinity(), sum = 0.0f, total = 0.0f;
    for (int s = 0; s < active; ++s) top = fmaxf(top, __ldcg(from + s * S::kPartial + kDim));
    for (int s = 0; s < active; ++s) {
      const float take = decay(__ldcg(from + s * S::kPartial + kDim), top);
      sum += __ldcg(from + s * S::kPartial + e) * take;
      total += __ldcg(from + s * S::kPartial + kDim + 1) * take;
    }
    out[head * kDim + e] = from_float<T>(sum / total);
  }
}

// The workspace: one counter for each KV head in a part of fixed size, so that calls of other shapes find
// their counters where these left them at zero; then partial results.
constexpr std::int64_t kCounters = 1024;

std::int64_t partial_floats(std::int64_t heads, std::int64_t dim) {
  return heads * kMaxSplits * (dim + 2);
}

template <class T, int kDim, int kGroup>
void launch(const DecodeAttention& a, Stream stream) {
  auto* arrived = static_cast<unsigned*>(a.workspace);
  auto* partials = reinterpret_cast<float*>(arrived + kCounters);
  const int splits = splits_for(a.kv_heads);
  const dim3 grid(static_cast<unsigned>(a.kv_heads), static_cast<unsigned>(splits));
  launch_early(decode_attention_kernel<T, kDim, kGroup>, grid, Shape<T, kDim, kGroup>::kWarps * 32, 0, stream,
               a, splits, partials, arrived);
}

template <class T, int kDim>
void launch(const DecodeAttention& a, Stream stream) {
  const std::int64_t group = a.heads / a.kv_heads;
  if (group == 1)
    launch<T, kDim, 1>(a, stream);
  else if (group == 2)
    launch<T, kDim, 2>(a, stream);
  else if (group <= 4)
    launch<T, kDim, 4>(a, stream);
  else
    launch<T, kDim, 8>(a, stream);
}

}  // namespace

bool takes_decode_attention(std::int64_t heads, std::int64_t kv_heads, std::int64_t dim) {
  return kv_heads > 0 && kv_heads <= kCounters && heads % kv_heads == 0 && heads / kv_heads <= 8 &&
         (dim == 64 || dim == 128 || dim == 256);
}

std::int64_t decode_attention_workspace(std::int64_t heads, std::int64_t dim) {
  return kCounters * 4 + partial_floats(heads, dim) * 4;
}

template <class T>
void decode_attention(const DecodeAttention& args, Stream stream) {
  if (!takes_decode_attention(args.heads, args.kv_heads, args.dim))
    throw Error("[ops] decode attention of " + std::to_string(args.heads) + " heads on " +
                std::to_string(args.kv_heads) + " of size " + std::to_string(args.dim) +
                ": it takes groups of up to 8 and sizes 64, 128, 256");
  if (!aligned16(args.k) || !aligned16(args.v) || args.k_head_stride % 8 != 0 ||
      args.k_token_stride % 8 != 0 || args.v_head_stride % 8 != 0 || args.v_token_stride % 8 != 0)
    throw Error("[ops] decode attention: keys and values must lie in 16-byte aligned rows");
  if (args.dim == 64)
    launch<T, 64>(args, stream);
  else if (args.dim == 128)
    launch<T, 128>(args, stream);
  else
    launch<T, 256>(args, stream);
  check_launch("decode attention");
}

template void decode_attention<Bf16>(const DecodeAttention&, Stream);
template void decode_attention<Fp16>(const DecodeAttention&, Stream);

}  // namespace tetrad::ops::cuda

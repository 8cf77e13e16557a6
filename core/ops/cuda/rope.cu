// Contraction is off (-fmad=false): the roundings are those of separate operations.
#include "ops/cuda/device.cuh"

namespace tetrad::ops::cuda {
namespace {

constexpr int kWarps = 4;
constexpr int kMaxPairs = 8;  // pairs (i, i + dim / 2) a lane holds: dim up to 512

// One warp per head of one token: query heads first, then key heads, then value heads.
template <class T>
__global__ void __launch_bounds__(kWarps * 32) qk_norm_rope_kernel(const __grid_constant__ QkNormRope a) {
  let_next_start();
  wait_for_previous();
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const std::int64_t per_token = a.heads + a.kv_heads + (a.v != nullptr ? a.kv_heads : 0);
  const std::int64_t item = static_cast<std::int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  if (item >= a.tokens * per_token) return;
  const std::int64_t token = item / per_token, at = item % per_token;
  const std::int64_t begin = value_of(a.begin);
  const bool is_query = at < a.heads, is_value = at >= a.heads + a.kv_heads;
  const std::int64_t head = is_query ? at : (at - a.heads) % a.kv_heads;
  const int dim = static_cast<int>(a.dim), half = dim / 2;

  const T* from = is_query   ? static_cast<const T*>(a.q) + token * a.q_stride
                  : is_value ? static_cast<const T*>(a.v) + token * a.v_stride
                             : static_cast<const T*>(a.k) + token * a.k_stride;
  from += head * dim;
  T* to;
  if (is_query) {
    to = static_cast<T*>(a.q_out) + (token * a.heads + head) * dim;
  } else {
    const std::int64_t slot = (a.to_slots ? begin : 0) + token;
    to = static_cast<T*>(is_value ? a.v_out : a.k_out) + head * a.out_head_stride + slot * a.out_token_stride;
  }

  float lower[kMaxPairs], upper[kMaxPairs];
  float squares = 0.0f;
#pragma unroll
  for (int p = 0; p < kMaxPairs; ++p) {
    const int i = p * 32 + lane;
    if (i >= half) break;
    lower[p] = to_float(from[i]);
    upper[p] = to_float(from[i + half]);
    squares += lower[p] * lower[p] + upper[p] * upper[p];
  }
  const T* weight = static_cast<const T*>(is_query ? a.q_weight : a.k_weight);
  if (!is_value && weight != nullptr) {
    const float inverse = rsqrtf(warp_sum(squares) / static_cast<float>(dim) + static_cast<float>(a.eps));
#pragma unroll
    for (int p = 0; p < kMaxPairs; ++p) {
      const int i = p * 32 + lane;
      if (i >= half) break;
      lower[p] = rounded<T>(rounded<T>(lower[p] * inverse) * to_float(weight[i]));
      upper[p] = rounded<T>(rounded<T>(upper[p] * inverse) * to_float(weight[i + half]));
    }
  }
  const T* cos = static_cast<const T*>(a.cos) + (begin + token) * half;
  const T* sin = static_cast<const T*>(a.sin) + (begin + token) * half;
#pragma unroll
  for (int p = 0; p < kMaxPairs; ++p) {
    const int i = p * 32 + lane;
    if (i >= half) break;
    float low = lower[p], high = upper[p];
    if (!is_value) {
      const float c = to_float(cos[i]), n = to_float(sin[i]);
      low = rounded<T>(lower[p] * c) - rounded<T>(upper[p] * n);
      high = rounded<T>(upper[p] * c) + rounded<T>(lower[p] * n);
    }
    to[i] = from_float<T>(low);
    to[i + half] = from_float<T>(high);
  }
}

}  // namespace

template <class T>
void qk_norm_rope(const QkNormRope& args, Stream stream) {
  if (args.dim % 2 != 0 || args.dim < 2 || args.dim > 64 * kMaxPairs)
    throw Error("[ops] rotation of heads of " + std::to_string(args.dim) + ": it takes even sizes up to " +
                std::to_string(64 * kMaxPairs));
  const std::int64_t items = args.tokens * (args.heads + args.kv_heads * (args.v != nullptr ? 2 : 1));
  if (items <= 0) return;
  launch_early(qk_norm_rope_kernel<T>, static_cast<unsigned>((items + kWarps - 1) / kWarps), kWarps * 32, 0,
               stream, args);
  check_launch("norm and rotation of q and k");
}

template void qk_norm_rope<Bf16>(const QkNormRope&, Stream);
template void qk_norm_rope<Fp16>(const QkNormRope&, Stream);

}  // namespace tetrad::ops::cuda

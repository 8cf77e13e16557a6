// Contraction is off (-fmad=false): the roundings are those of separate operations.
#include "ops/cuda/device.cuh"
#include "ops/cuda/reduce.cuh"
#include "ops/cuda/train_kernels.h"
#include "ops/cuda/train_math.h"

namespace tetrad::ops::cuda {
namespace {

constexpr int kWarps = 8;
constexpr std::int64_t kBlocksPerProcessor = 6;

// What of the arguments belongs to queries or to keys.
template <class T>
struct Side {
  const T *x, *weight, *gradient;
  T* out;
  std::int64_t heads;
};
template <class T>
__device__ Side<T> side_of(const RopeRows& a, bool keys) {
  if (keys)
    return {static_cast<const T*>(a.k), static_cast<const T*>(a.k_weight), static_cast<const T*>(a.dk),
            static_cast<T*>(a.k_out), a.kv_heads};
  return {static_cast<const T*>(a.q), static_cast<const T*>(a.q_weight), static_cast<const T*>(a.dq),
          static_cast<T*>(a.q_out), a.heads};
}

// A warp's head: lane l holds elements l * kVec .. of each half.
template <class T, int kVec>
struct Head {
  float lower[kVec], upper[kVec];
  __device__ void load_from(const T* p, int lane) {
    const Vector<T, kVec> low = load<T, kVec>(p + lane * kVec), up = load<T, kVec>(p + (32 + lane) * kVec);
#pragma unroll
    for (int e = 0; e < kVec; ++e) {
      lower[e] = to_float(low.element[e]);
      upper[e] = to_float(up.element[e]);
    }
  }
  __device__ void store_to(T* p, int lane) const {
    Vector<T, kVec> low, up;
#pragma unroll
    for (int e = 0; e < kVec; ++e) {
      low.element[e] = from_float<T>(lower[e]);
      up.element[e] = from_float<T>(upper[e]);
    }
    store(p + lane * kVec, low);
    store(p + (32 + lane) * kVec, up);
  }
  __device__ float squares() const {
    float sum = 0.0f;
#pragma unroll
    for (int e = 0; e < kVec; ++e) sum += lower[e] * lower[e] + upper[e] * upper[e];
    return warp_sum(sum);
  }
  // By the angle of the position, or back.
  __device__ void turn(const RopeRows& a, std::int64_t token, int lane, bool back) {
    const std::int64_t row = a.positions[token] * 32 * kVec + lane * kVec;
    const Vector<T, kVec> c = load<T, kVec>(static_cast<const T*>(a.cos) + row),
                          s = load<T, kVec>(static_cast<const T*>(a.sin) + row);
#pragma unroll
    for (int e = 0; e < kVec; ++e) {
      const float sin = to_float(s.element[e]);
      const Pair turned = rotate<T>({lower[e], upper[e]}, to_float(c.element[e]), back ? -sin : sin);
      lower[e] = turned.lower;
      upper[e] = turned.upper;
    }
  }
};

// One warp for each head of each token: query heads of a token first, then its key heads.
template <class T, int kVec>
__global__ void __launch_bounds__(kWarps * 32) rope_rows_kernel(const __grid_constant__ RopeRows a) {
  constexpr int kDim = 64 * kVec;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const std::int64_t item = static_cast<std::int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  const std::int64_t per_token = a.heads + a.kv_heads;
  if (item >= a.tokens * per_token) return;
  const std::int64_t token = item / per_token, at = item % per_token;
  const bool keys = at >= a.heads;
  const Side<T> side = side_of<T>(a, keys);
  const std::int64_t offset = (token * side.heads + (keys ? at - a.heads : at)) * kDim;
  Head<T, kVec> head, weight;
  head.load_from(side.x + offset, lane);
  if (side.weight != nullptr) {
    weight.load_from(side.weight, lane);
    const float inverse = rsqrtf(head.squares() / static_cast<float>(kDim) + static_cast<float>(a.eps));
#pragma unroll
    for (int e = 0; e < kVec; ++e) {
      head.lower[e] = stored<T>(stored<T>(head.lower[e] * inverse) * weight.lower[e]);
      head.upper[e] = stored<T>(stored<T>(head.upper[e] * inverse) * weight.upper[e]);
    }
  }
  head.turn(a, token, lane, false);
  head.store_to(side.out + offset, lane);
}

// The first q_blocks blocks take the queries' heads, the others the keys'; each warp every so many of them. A
// block leaves its part of the norm weight's gradient in row blockIdx.x of the workspace.
template <class T, int kVec>
__global__ void __launch_bounds__(kWarps * 32)
    rope_rows_backward_kernel(const __grid_constant__ RopeRows a, unsigned q_blocks) {
  constexpr int kDim = 64 * kVec;
  __shared__ float of_warp[kWarps][kDim];
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const bool keys = blockIdx.x >= q_blocks;
  const Side<T> side = side_of<T>(a, keys);
  const std::int64_t block = keys ? blockIdx.x - q_blocks : blockIdx.x;
  const std::int64_t step = static_cast<std::int64_t>(keys ? gridDim.x - q_blocks : q_blocks) * kWarps;
  const std::int64_t items = a.tokens * side.heads;
  const bool normed = side.weight != nullptr;
  Head<T, kVec> weight{}, dweight{};
  if (normed) weight.load_from(side.weight, lane);
  for (std::int64_t item = block * kWarps + warp; item < items; item += step) {
    Head<T, kVec> up, x;
    up.load_from(side.gradient + item * kDim, lane);
    if (normed) x.load_from(side.x + item * kDim, lane);
    up.turn(a, item / side.heads, lane, true);
    if (normed) {
      const float count = static_cast<float>(kDim);
      const float inverse = rsqrtf(x.squares() / count + static_cast<float>(a.eps));
      float along = 0.0f;
#pragma unroll
      for (int e = 0; e < kVec; ++e)
        along += up.lower[e] * weight.lower[e] * x.lower[e] + up.upper[e] * weight.upper[e] * x.upper[e];
      along = warp_sum(along) / count * inverse;
#pragma unroll
      for (int e = 0; e < kVec; ++e) {
        const NormElement low = rms_norm_gradient(up.lower[e], x.lower[e], weight.lower[e], inverse, along);
        const NormElement high = rms_norm_gradient(up.upper[e], x.upper[e], weight.upper[e], inverse, along);
        up.lower[e] = low.dx;
        up.upper[e] = high.dx;
        dweight.lower[e] += low.dweight;
        dweight.upper[e] += high.dweight;
      }
    }
    up.store_to(side.out + item * kDim, lane);
  }
  if (!normed) return;
#pragma unroll
  for (int e = 0; e < kVec; ++e) {
    of_warp[warp][lane * kVec + e] = dweight.lower[e];
    of_warp[warp][(32 + lane) * kVec + e] = dweight.upper[e];
  }
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < kDim; i += kWarps * 32) {
    float sum = 0.0f;
    for (int w = 0; w < kWarps; ++w) sum += of_warp[w][i];
    a.workspace[static_cast<std::int64_t>(blockIdx.x) * kDim + i] = sum;
  }
}

std::int64_t most_blocks() {
  return processors() * kBlocksPerProcessor + 2;
}

// Calls run with the number of elements that a lane holds of each half.
template <class Run>
void by_dim(std::int64_t dim, Run run) {
  switch (dim) {
    case 64:
      return run(std::integral_constant<int, 1>{});
    case 128:
      return run(std::integral_constant<int, 2>{});
    case 256:
      return run(std::integral_constant<int, 4>{});
    default:
      throw Error("[ops] rotation of training rows: heads of " + std::to_string(dim) +
                  ", it takes 64, 128 and 256");
  }
}

}  // namespace

bool takes_rope_rows(std::int64_t dim) {
  return dim == 64 || dim == 128 || dim == 256;
}

template <class T>
void rope_rows(const RopeRows& args, Stream stream) {
  const std::int64_t items = args.tokens * (args.heads + args.kv_heads);
  if (items <= 0) return;
  by_dim(args.dim, [&](auto vector) {
    rope_rows_kernel<T, vector>
        <<<static_cast<unsigned>((items + kWarps - 1) / kWarps), kWarps * 32, 0, stream>>>(args);
  });
  check_launch("norm and rotation of training rows");
}

std::int64_t rope_rows_workspace(std::int64_t dim) {
  return most_blocks() * dim;
}

template <class T>
void rope_rows_backward(const RopeRows& args, Stream stream) {
  if (args.tokens <= 0) return;
  const auto blocks_for = [&](std::int64_t heads) {
    const std::int64_t share = processors() * kBlocksPerProcessor * heads / (args.heads + args.kv_heads);
    const std::int64_t useful = (args.tokens * heads + kWarps - 1) / kWarps;
    return std::clamp<std::int64_t>(share, 1, useful);
  };
  const std::int64_t q_blocks = blocks_for(args.heads), k_blocks = blocks_for(args.kv_heads);
  by_dim(args.dim, [&](auto vector) {
    rope_rows_backward_kernel<T, vector>
        <<<static_cast<unsigned>(q_blocks + k_blocks), kWarps * 32, 0, stream>>>(
            args, static_cast<unsigned>(q_blocks));
  });
  check_launch("gradient of norm and rotation");
  if (args.q_weight != nullptr) sum_columns(args.workspace, q_blocks, args.dim, args.dq_weight, stream);
  if (args.k_weight != nullptr)
    sum_columns(args.workspace + q_blocks * args.dim, k_blocks, args.dim, args.dk_weight, stream);
}

#define TETRAD_INSTANTIATE(T)                          \
  template void rope_rows<T>(const RopeRows&, Stream); \
  template void rope_rows_backward<T>(const RopeRows&, Stream);
TETRAD_INSTANTIATE(Bf16)
TETRAD_INSTANTIATE(Fp16)
#undef TETRAD_INSTANTIATE

}  // namespace tetrad::ops::cuda

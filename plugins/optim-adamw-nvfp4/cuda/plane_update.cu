// Compiled without contraction: results are compared with the CPU's bit by bit. A thread takes two blocks, 32
// elements: 16 bytes of every plane in one load, and nothing is exchanged between threads but the greatest
// block scales at the end.
#include "cuda/plane_update_cuda.h"

#include "optim/cuda/launch.h"

namespace tetrad::optim_adamw_nvfp4::cuda {
namespace {

using optim::cuda::kThreads;

// Two consecutive blocks of a plane: 16 bytes.
__device__ void load_pair(const std::uint8_t* plane, std::int64_t pair, bool both, BlockCodes (&to)[2]) {
  if (both) {
    const uint4 bytes = reinterpret_cast<const uint4*>(plane)[pair];
    to[0] = {{bytes.x, bytes.y}};
    to[1] = {{bytes.z, bytes.w}};
  } else {
    to[0] = nvfp4::load_codes(plane + pair * 16);
    to[1] = {};
  }
}

__device__ void store_pair(const BlockCodes& first, const BlockCodes& second, std::int64_t pair, bool both,
                           std::uint8_t* plane) {
  if (both)
    reinterpret_cast<uint4*>(plane)[pair] =
        make_uint4(first.word[0], first.word[1], second.word[0], second.word[1]);
  else
    nvfp4::store_codes(first, plane + pair * 16);
}

__device__ void load_scales(const std::uint8_t* scales, std::int64_t pair, bool both, std::uint8_t (&to)[2]) {
  if (both) {
    const uchar2 bytes = reinterpret_cast<const uchar2*>(scales)[pair];
    to[0] = bytes.x;
    to[1] = bytes.y;
  } else {
    to[0] = scales[pair * 2];
    to[1] = 0;
  }
}

__device__ void store_scales(std::uint8_t first, std::uint8_t second, std::int64_t pair, bool both,
                             std::uint8_t* scales) {
  if (both)
    reinterpret_cast<uchar2*>(scales)[pair] = make_uchar2(first, second);
  else
    scales[pair * 2] = first;
}

template <int P>
__device__ void load_states(const PlaneArgs& a, std::int64_t pair, bool both, StateBlock<P> (&s)[2]) {
  BlockCodes two[2];
  std::uint8_t scales[2];
#pragma unroll
  for (int p = 0; p < P; ++p) {
    load_pair(a.w[p], pair, both, two);
    s[0].w[p] = two[0];
    s[1].w[p] = two[1];
  }
  load_pair(a.m, pair, both, two);
  s[0].m = two[0];
  s[1].m = two[1];
  load_pair(a.r, pair, both, two);
  s[0].r = two[0];
  s[1].r = two[1];
  load_scales(a.w_scales, pair, both, scales);
  s[0].w_scale = scales[0];
  s[1].w_scale = scales[1];
  load_scales(a.m_scales, pair, both, scales);
  s[0].m_scale = scales[0];
  s[1].m_scale = scales[1];
  load_scales(a.r_scales, pair, both, scales);
  s[0].r_scale = scales[0];
  s[1].r_scale = scales[1];
}

template <int P>
__device__ void store_states(const StateBlock<P> (&s)[2], std::int64_t pair, bool both, const PlaneArgs& a) {
#pragma unroll
  for (int p = 0; p < P; ++p) store_pair(s[0].w[p], s[1].w[p], pair, both, a.w[p]);
  store_pair(s[0].m, s[1].m, pair, both, a.m);
  store_pair(s[0].r, s[1].r, pair, both, a.r);
  store_scales(s[0].w_scale, s[1].w_scale, pair, both, a.w_scales);
  store_scales(s[0].m_scale, s[1].m_scale, pair, both, a.m_scales);
  store_scales(s[0].r_scale, s[1].r_scale, pair, both, a.r_scales);
}

template <int P, GradientKind K>
__global__ void __launch_bounds__(kThreads) update_kernel(PlaneArgs a) {
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (a.stop != nullptr && *a.stop != 0) {
    if (first == 0) {
      *a.next_range = *a.range;
      *a.clear_range = {};
    }
    return;
  }
  const StepValues values = step_values(a);
  const std::int64_t blocks = a.rows * ((a.cols + 15) / 16), pairs = (blocks + 1) / 2;
  const auto threads = static_cast<std::int64_t>(gridDim.x) * kThreads;
  std::uint32_t m_code = 0, r_code = 0;
  bool good = true;
  for (std::int64_t pair = first; pair < pairs; pair += threads) {
    const bool both = 2 * pair + 1 < blocks;
    StateBlock<P> s[2];
    BlockCodes g_codes[2];
    std::uint8_t g_scales[2];
    load_states(a, pair, both, s);
    if constexpr (K == GradientKind::planes) {
      load_pair(static_cast<const std::uint8_t*>(a.g), pair, both, g_codes);
      load_scales(a.g_scales, pair, both, g_scales);
    }
#pragma unroll 1  // the body is long, and its registers are needed once
    for (int j = 0; j < 2; ++j) {
      if (j == 1 && !both) break;
      const std::int64_t block = 2 * pair + j;
      float g[16];
      if constexpr (K == GradientKind::planes)
        plane_gradient(j == 0 ? g_codes[0] : g_codes[1], j == 0 ? g_scales[0] : g_scales[1], values.g_factor,
                       g);
      else if constexpr (K == GradientKind::fp32)
        dense_gradient<float>(a, block, values.g_factor, g);
      else
        dense_gradient<nvfp4::Bf16>(a, block, values.g_factor, g);
      StateBlock<P> b = j == 0 ? s[0] : s[1];
      const bool fine = adamw_block(g, b, values.scales, a.f, a.draws, block);
      good = good && fine;
      m_code = max(m_code, static_cast<std::uint32_t>(b.m_scale));
      r_code = max(r_code, static_cast<std::uint32_t>(b.r_scale));
      if (fine && j == 0) s[0] = b;
      if (fine && j == 1) s[1] = b;
    }
    store_states(s, pair, both, a);
  }
  if (!good && a.stop != nullptr) atomicCAS(a.stop, 0, a.mark);
  m_code = __reduce_max_sync(0xFFFFFFFFu, m_code);
  r_code = __reduce_max_sync(0xFFFFFFFFu, r_code);
  if (threadIdx.x % 32 == 0) {
    // Most warps meet what is there already: a look is cheaper than an atomic.
    if (*static_cast<volatile std::int32_t*>(&a.next_range->m_code) < static_cast<std::int32_t>(m_code))
      atomicMax(&a.next_range->m_code, static_cast<std::int32_t>(m_code));
    if (*static_cast<volatile std::int32_t*>(&a.next_range->r_code) < static_cast<std::int32_t>(r_code))
      atomicMax(&a.next_range->r_code, static_cast<std::int32_t>(r_code));
  }
  if (first == 0) {
    a.next_range->m_scale = values.scales.m_new;
    a.next_range->r_scale = values.scales.r_new;
    *a.clear_range = {};
  }
}

template <int P>
void launch(const PlaneArgs& a, CUstream_st* stream) {
  const std::int64_t blocks = a.rows * ((a.cols + 15) / 16);
  const unsigned grid = optim::cuda::grid_for((blocks + 1) / 2);
  switch (a.kind) {
    case GradientKind::planes:
      update_kernel<P, GradientKind::planes><<<grid, kThreads, 0, stream>>>(a);
      break;
    case GradientKind::fp32:
      update_kernel<P, GradientKind::fp32><<<grid, kThreads, 0, stream>>>(a);
      break;
    case GradientKind::bf16:
      update_kernel<P, GradientKind::bf16><<<grid, kThreads, 0, stream>>>(a);
      break;
  }
  optim::cuda::check_launch("NVFP4 AdamW");
}

}  // namespace

void plane_update(const PlaneArgs& args, int planes, CUstream_st* stream) {
  switch (planes) {
    case 1:
      return launch<1>(args, stream);
    case 2:
      return launch<2>(args, stream);
    default:
      return launch<3>(args, stream);
  }
}

}  // namespace tetrad::optim_adamw_nvfp4::cuda

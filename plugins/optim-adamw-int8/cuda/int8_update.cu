// Compiled without contraction: results are compared with the CPU's bit by bit. One thread block holds one
// block of 256 elements, an element a thread.
#include "cuda/int8_update_cuda.h"

#include <tetrad/nvfp4/codec.h>

#include "optim/cuda/launch.h"

namespace tetrad::optim_adamw_int8::cuda {
namespace {

using nvfp4::Bf16;
using Type = optim::DenseArgs::Type;

// The greatest of a non-negative float of every thread of the block. `shared`: 8 words.
__device__ float block_greatest(float x, std::uint32_t* shared) {
  const std::uint32_t warp = __reduce_max_sync(0xFFFFFFFFu, nvfp4::float_bits(x));
  __syncthreads();
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = warp;
  __syncthreads();
  std::uint32_t all = 0;
  for (int i = 0; i < 8; ++i) all = max(all, shared[i]);
  return nvfp4::bits_float(all);
}

template <class W, class G>
__global__ void __launch_bounds__(kBlock) update_kernel(Int8Args a) {
  const optim::DenseArgs& d = a.dense;
  if (d.stop != nullptr && *d.stop != 0) return;
  __shared__ float m_map[256], v_map[256];
  __shared__ std::uint32_t greatest[8];
  m_map[threadIdx.x] = a.m_map[threadIdx.x];
  v_map[threadIdx.x] = a.v_map[threadIdx.x];
  __syncthreads();
  const float scale = d.scale == nullptr ? 1.0f : *d.scale;
  const std::int64_t n = d.rows * d.cols, blocks = (n + kBlock - 1) / kBlock;
  bool good = true;
  for (std::int64_t block = blockIdx.x; block < blocks; block += gridDim.x) {
    const std::int64_t i = block * kBlock + threadIdx.x;
    float m = 0.0f, v = 0.0f;
    if (i < n) {
      m = m_map[a.m[i]] * a.m_scales[block];
      v = v_map[a.v[i]] * a.v_scales[block];
      W* w = static_cast<W*>(d.w) + i;
      float w1 = nvfp4::to_float(*w);
      if (optim::adamw_element(w1, m, v, nvfp4::to_float(static_cast<const G*>(d.g)[i]) * scale, d.f))
        *w = optim::narrowed<W>(d, w1, i);
      else
        good = false;
    }
    const float m_max = block_greatest(fabsf(m), greatest), v_max = block_greatest(v, greatest);
    if (i < n) {
      a.m[i] = nearest_code(m_map, m * inverse_of(m_max));
      a.v[i] = nearest_code(v_map, v * inverse_of(v_max));
    }
    if (threadIdx.x == 0) {
      a.m_scales[block] = m_max;
      a.v_scales[block] = v_max;
    }
    __syncthreads();
  }
  if (!good && d.stop != nullptr) atomicCAS(d.stop, 0, d.mark);
}

template <class W>
void launch(const Int8Args& a, CUstream_st* stream) {
  const std::int64_t blocks = (a.dense.rows * a.dense.cols + kBlock - 1) / kBlock;
  const auto grid = static_cast<unsigned>(blocks < 65536 ? blocks : 65536);
  if (a.dense.g_type == Type::fp32)
    update_kernel<W, float><<<grid, kBlock, 0, stream>>>(a);
  else
    update_kernel<W, Bf16><<<grid, kBlock, 0, stream>>>(a);
  optim::cuda::check_launch("8-bit AdamW");
}

}  // namespace

void int8_update(const Int8Args& args, CUstream_st* stream) {
  if (args.dense.w_type == Type::fp32)
    launch<float>(args, stream);
  else
    launch<Bf16>(args, stream);
}

}  // namespace tetrad::optim_adamw_int8::cuda

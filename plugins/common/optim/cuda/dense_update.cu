// Compiled without contraction: results are compared with the CPU's bit by bit.
#include "optim/cuda/dense_update.h"

#include <tetrad/nvfp4/codec.h>

#include "optim/cuda/launch.h"

namespace tetrad::optim::cuda {
namespace {

using nvfp4::Bf16;
using nvfp4::Fp16;
using Type = DenseArgs::Type;

template <class W>
__device__ W narrowed(float x, bool stochastic, std::uint32_t draw) {
  if constexpr (sizeof(W) == 2) {
    if constexpr (__is_same(W, Bf16)) {
      if (stochastic) return bf16_stochastic(x, draw);
    }
  }
  return nvfp4::from_float<W>(x);
}

// A thread updates four elements of a row, which share one call of the generator.
template <class W, class G>
__global__ void update_kernel(DenseArgs a) {
  if (a.stop != nullptr && *a.stop != 0) return;
  const float scale = a.scale == nullptr ? 1.0f : *a.scale;
  const bool stochastic = a.rounding == DenseRounding::stochastic;
  const std::int64_t row_groups = nvfp4::packed_cols(a.cols) / 4, groups = a.rows * row_groups;
  const auto threads = static_cast<std::int64_t>(gridDim.x) * kThreads;
  bool good = true;
  for (std::int64_t group = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x; group < groups;
       group += threads) {
    const std::int64_t row = group / row_groups, col = (group - row * row_groups) * 4;
    nvfp4::Philox4 words{};
    if (stochastic) words = nvfp4::draw_words(a.draws, static_cast<std::uint64_t>(group));
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if (col + j >= a.cols) break;
      const std::int64_t i = row * a.cols + col + j;
      W* w = static_cast<W*>(a.w) + i;
      float w1 = a.master != nullptr ? a.master[i] : nvfp4::to_float(*w);
      if (!adamw_element(w1, a.m[i], a.v[i], nvfp4::to_float(static_cast<const G*>(a.g)[i]) * scale, a.f)) {
        good = false;
        continue;
      }
      if (a.master != nullptr) a.master[i] = w1;
      *w = narrowed<W>(w1, stochastic, nvfp4::draw0(words.word[j]));
    }
  }
  if (!good && a.stop != nullptr) atomicCAS(a.stop, 0, a.mark);
}

template <class W>
void launch(const DenseArgs& a, CUstream_st* stream) {
  const unsigned grid = grid_for(a.rows * (nvfp4::packed_cols(a.cols) / 4));
  if (a.g_type == Type::fp32)
    update_kernel<W, float><<<grid, kThreads, 0, stream>>>(a);
  else
    update_kernel<W, Bf16><<<grid, kThreads, 0, stream>>>(a);
  check_launch("dense AdamW");
}

}  // namespace

void dense_update(const DenseArgs& args, CUstream_st* stream) {
  switch (args.w_type) {
    case Type::fp32:
      return launch<float>(args, stream);
    case Type::bf16:
      return launch<Bf16>(args, stream);
    case Type::fp16:
      return launch<Fp16>(args, stream);
  }
}

}  // namespace tetrad::optim::cuda

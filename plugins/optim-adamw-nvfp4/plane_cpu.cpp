#include "plane_cpu.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>

#ifndef _OPENMP
#error "at::parallel_for without -fopenmp runs on one thread, silently"
#endif

namespace tetrad::optim_adamw_nvfp4 {
namespace {

template <int P>
StateBlock<P> load(const PlaneArgs& a, std::int64_t block) {
  StateBlock<P> b;
  for (int p = 0; p < P; ++p) b.w[p] = nvfp4::load_codes(a.w[p] + block * 8);
  b.m = nvfp4::load_codes(a.m + block * 8);
  b.r = nvfp4::load_codes(a.r + block * 8);
  b.w_scale = a.w_scales[block];
  b.m_scale = a.m_scales[block];
  b.r_scale = a.r_scales[block];
  return b;
}

template <int P>
void store(const StateBlock<P>& b, const PlaneArgs& a, std::int64_t block) {
  for (int p = 0; p < P; ++p) nvfp4::store_codes(b.w[p], a.w[p] + block * 8);
  nvfp4::store_codes(b.m, a.m + block * 8);
  nvfp4::store_codes(b.r, a.r + block * 8);
  a.w_scales[block] = b.w_scale;
  a.m_scales[block] = b.m_scale;
  a.r_scales[block] = b.r_scale;
}

void gradient_of(const PlaneArgs& a, std::int64_t block, float factor, float (&g)[16]) {
  switch (a.kind) {
    case GradientKind::planes:
      return plane_gradient(nvfp4::load_codes(static_cast<const std::uint8_t*>(a.g) + block * 8),
                            a.g_scales[block], factor, g);
    case GradientKind::fp32:
      return dense_gradient<float>(a, block, factor, g);
    case GradientKind::bf16:
      return dense_gradient<nvfp4::Bf16>(a, block, factor, g);
  }
}

void raise(std::atomic<std::int32_t>& greatest, std::int32_t value) {
  std::int32_t seen = greatest.load(std::memory_order_relaxed);
  while (seen < value && !greatest.compare_exchange_weak(seen, value, std::memory_order_relaxed)) {
  }
}

template <int P>
void update(const PlaneArgs& a) {
  const StepValues values = step_values(a);
  const std::int64_t blocks = a.rows * ((a.cols + 15) / 16);
  std::atomic<std::int32_t> m_code{0}, r_code{0};
  std::atomic<bool> good{true};
  at::parallel_for(0, blocks, 1024, [&](std::int64_t first, std::int64_t last) {
    std::int32_t m_here = 0, r_here = 0;
    bool fine = true;
    for (std::int64_t block = first; block < last; ++block) {
      float g[16];
      gradient_of(a, block, values.g_factor, g);
      StateBlock<P> b = load<P>(a, block);
      if (adamw_block(g, b, values.scales, a.f, a.draws, block))
        store(b, a, block);
      else
        fine = false;
      m_here = std::max<std::int32_t>(m_here, b.m_scale);
      r_here = std::max<std::int32_t>(r_here, b.r_scale);
    }
    raise(m_code, m_here);
    raise(r_code, r_here);
    if (!fine) good = false;
  });
  *a.next_range = {values.scales.m_new, values.scales.r_new, m_code.load(), r_code.load()};
  *a.clear_range = {};
  if (!good && a.stop != nullptr && *a.stop == 0) *a.stop = a.mark;
}

}  // namespace

void plane_update_cpu(const PlaneArgs& args, int planes) {
  if (args.stop != nullptr && *args.stop != 0) {
    *args.next_range = *args.range;
    *args.clear_range = {};
    return;
  }
  switch (planes) {
    case 1:
      return update<1>(args);
    case 2:
      return update<2>(args);
    default:
      return update<3>(args);
  }
}

}  // namespace tetrad::optim_adamw_nvfp4

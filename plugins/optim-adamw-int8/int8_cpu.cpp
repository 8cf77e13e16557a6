#include "int8_cpu.h"

#include <ATen/Parallel.h>
#include <tetrad/nvfp4/codec.h>

#include <algorithm>
#include <atomic>
#include <cmath>

#ifndef _OPENMP
#error "at::parallel_for without -fopenmp runs on one thread, silently"
#endif

namespace tetrad::optim_adamw_int8 {
namespace {

using nvfp4::Bf16;
using Type = optim::DenseArgs::Type;

template <class W, class G>
bool update_block(const Int8Args& a, float scale, std::int64_t block) {
  const optim::DenseArgs& d = a.dense;
  const std::int64_t first = block * kBlock, n = std::min(kBlock, d.rows * d.cols - first);
  W* w = static_cast<W*>(d.w) + first;
  const G* g = static_cast<const G*>(d.g) + first;
  float m[kBlock], v[kBlock];
  float m_max = 0.0F, v_max = 0.0F;
  bool good = true;
  for (std::int64_t i = 0; i < n; ++i) {
    m[i] = a.m_map[a.m[first + i]] * a.m_scales[block];
    v[i] = a.v_map[a.v[first + i]] * a.v_scales[block];
    float w1 = nvfp4::to_float(w[i]);
    if (optim::adamw_element(w1, m[i], v[i], nvfp4::to_float(g[i]) * scale, d.f))
      w[i] = optim::narrowed<W>(d, w1, first + i);
    else
      good = false;
    m_max = std::max(m_max, std::fabs(m[i]));
    v_max = std::max(v_max, v[i]);
  }
  const float m_inverse = inverse_of(m_max), v_inverse = inverse_of(v_max);
  a.m_scales[block] = m_max;
  a.v_scales[block] = v_max;
  for (std::int64_t i = 0; i < n; ++i) {
    a.m[first + i] = nearest_code(a.m_map, m[i] * m_inverse);
    a.v[first + i] = nearest_code(a.v_map, v[i] * v_inverse);
  }
  return good;
}

template <class W, class G>
void update_all(const Int8Args& a) {
  const optim::DenseArgs& d = a.dense;
  const float scale = d.scale == nullptr ? 1.0F : *d.scale;
  const std::int64_t blocks = (d.rows * d.cols + kBlock - 1) / kBlock;
  std::atomic<bool> good{true};
  at::parallel_for(0, blocks, 64, [&](std::int64_t begin, std::int64_t end) {
    bool fine = true;
    for (std::int64_t block = begin; block < end; ++block) fine &= update_block<W, G>(a, scale, block);
    if (!fine) good = false;
  });
  if (!good && d.stop != nullptr && *d.stop == 0) *d.stop = d.mark;
}

template <class W>
void update_typed(const Int8Args& a) {
  if (a.dense.g_type == Type::fp32)
    update_all<W, float>(a);
  else
    update_all<W, Bf16>(a);
}

}  // namespace

void int8_update_cpu(const Int8Args& args) {
  if (args.dense.stop != nullptr && *args.dense.stop != 0) return;
  if (args.dense.w_type == Type::fp32)
    update_typed<float>(args);
  else
    update_typed<Bf16>(args);
}

}  // namespace tetrad::optim_adamw_int8

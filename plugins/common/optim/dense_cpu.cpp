#include "optim/dense_cpu.h"

#include <ATen/Parallel.h>
#include <tetrad/nvfp4/codec.h>

#include <algorithm>
#include <atomic>
#include <type_traits>

#ifndef _OPENMP
#error "at::parallel_for without -fopenmp runs on one thread, silently"
#endif

namespace tetrad::optim {
namespace {

using nvfp4::Bf16;
using nvfp4::Fp16;
using Type = DenseArgs::Type;

constexpr std::int64_t kStrip = 64;  // elements of a row that one call updates; a multiple of 4

// Elements [begin, end) of one row, which starts at element `row_start` of the dense tensor and at
// `draw_start` of the counter's numbering. False where something was not finite.
template <class W, class G>
bool update_range(const DenseArgs& a, float scale, std::int64_t row_start, std::int64_t draw_start,
                  std::int64_t begin, std::int64_t end) {
  W* w = static_cast<W*>(a.w) + row_start;
  const G* g = static_cast<const G*>(a.g) + row_start;
  float* m = a.m + row_start;
  float* v = a.v + row_start;
  float* master = a.master == nullptr ? nullptr : a.master + row_start;
  bool good = true;
  nvfp4::Philox4 words{};
  const bool draws = a.rounding == DenseRounding::stochastic;
  for (std::int64_t i = begin; i < end; ++i) {
    // `begin` and every row's numbering start at a multiple of 4.
    if (draws && i % 4 == 0)
      words = nvfp4::draw_words(a.draws, static_cast<std::uint64_t>(draw_start + i) / 4);
    float w1 = master != nullptr ? master[i] : nvfp4::to_float(w[i]);
    if (!adamw_element(w1, m[i], v[i], nvfp4::to_float(g[i]) * scale, a.f)) {
      good = false;
      continue;
    }
    if (master != nullptr) master[i] = w1;
    if constexpr (std::is_same_v<W, Bf16>) {
      if (draws) {
        w[i] = bf16_stochastic(w1, nvfp4::draw0(words.word[i % 4]));
        continue;
      }
    }
    w[i] = nvfp4::from_float<W>(w1);
  }
  return good;
}

template <class W, class G>
void update_all(const DenseArgs& a) {
  const float scale = a.scale == nullptr ? 1.0F : *a.scale;
  const std::int64_t padded = nvfp4::packed_cols(a.cols);
  const std::int64_t pieces = (a.cols + kStrip - 1) / kStrip;
  std::atomic<bool> good{true};
  at::parallel_for(0, a.rows * pieces, 256, [&](std::int64_t first, std::int64_t last) {
    bool fine = true;
    for (std::int64_t piece = first; piece < last; ++piece) {
      const std::int64_t row = piece / pieces, begin = piece % pieces * kStrip;
      fine &=
          update_range<W, G>(a, scale, row * a.cols, row * padded, begin, std::min(begin + kStrip, a.cols));
    }
    if (!fine) good = false;
  });
  if (!good && a.stop != nullptr && *a.stop == 0) *a.stop = a.mark;
}

template <class W>
void update_typed(const DenseArgs& a) {
  if (a.g_type == Type::fp32)
    update_all<W, float>(a);
  else
    update_all<W, Bf16>(a);
}

}  // namespace

void dense_update_cpu(const DenseArgs& args) {
  if (args.stop != nullptr && *args.stop != 0) return;
  switch (args.w_type) {
    case Type::fp32:
      return update_typed<float>(args);
    case Type::bf16:
      return update_typed<Bf16>(args);
    case Type::fp16:
      return update_typed<Fp16>(args);
  }
}

}  // namespace tetrad::optim

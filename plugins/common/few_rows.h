// One parallel loop over the rows of several weights that share their input: q, k and v, or gate and up, cost
// one hand-over to the threads instead of one each, and results are rounded by the thread that made them.
// Header only, for the backends of this folder; a target that includes it is built with -fopenmp.
#pragma once

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <tetrad/nvfp4/dense_product.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#ifndef _OPENMP
#error "at::parallel_for without -fopenmp runs on one thread, silently"
#endif

namespace tetrad::few_rows {

// Narrows a block of fp32 results [m, count] to columns [first, first + count) of y [m, n].
inline void store(const float* from, std::int64_t m, std::int64_t count, const at::Tensor& y,
                  std::int64_t first) {
  const std::int64_t n = y.size(1);
  void* const to = y.mutable_data_ptr();
  for (std::int64_t i = 0; i < m; ++i, from += count) {
    const std::int64_t at = i * n + first;
    if (y.scalar_type() == at::kBFloat16)
      nvfp4::narrow(from, count, static_cast<nvfp4::Bf16*>(to) + at);
    else if (y.scalar_type() == at::kHalf)
      std::transform(from, from + count, static_cast<nvfp4::Fp16*>(to) + at, nvfp4::to_fp16);
    else
      std::copy(from, from + count, static_cast<float*>(to) + at);
  }
}

// Fills y[w] [m, n_w], contiguous, bf16, fp16 or fp32, for every w. rows(w, first, count, out) computes the
// results of `count` rows of weight w from `first` on into out [m, count]; it is called from several threads
// at once. cols: the weights' row length, which decides how many rows are worth a thread.
template <class Rows>
void run(const std::vector<at::Tensor>& y, std::int64_t m, std::int64_t cols, const Rows& rows) {
  constexpr std::int64_t kBlock = 512;  // rows at a time, so that fp32 results stay in the nearest cache
  std::int64_t total = 0;
  for (const at::Tensor& t : y) total += t.size(1);
  const std::int64_t grain = std::max<std::int64_t>(1, 32768 / std::max<std::int64_t>(cols, 1));
  at::parallel_for(0, total, grain, [&](std::int64_t begin, std::int64_t end) {
    thread_local std::vector<float> scratch;
    scratch.resize(std::max(scratch.size(), static_cast<std::size_t>(m * kBlock)));
    std::int64_t base = 0;
    for (std::size_t w = 0; w < y.size(); ++w) {
      const std::int64_t n = y[w].size(1), last = std::min(end - base, n);
      for (std::int64_t first = std::max<std::int64_t>(begin - base, 0); first < last; first += kBlock) {
        const std::int64_t count = std::min(kBlock, last - first);
        rows(w, first, count, scratch.data());
        store(scratch.data(), m, count, y[w], first);
      }
      base += n;
    }
  });
}

}  // namespace tetrad::few_rows

// The kernel of sample.cu. One block chooses the token: a pass over the logits for the greatest, and one more
// for the sum of the weights or for the list of the most probable tokens, which is then sorted and cut in
// shared memory. At 151,936 logits both passes read the L2. Everything that must give the host's bits is
// compiled without contraction. A header, so that a test can run it lane by lane on the CPU.
#pragma once

#include "ops/cuda/best.cuh"

namespace tetrad::ops::cuda {

inline constexpr int kSampleThreads = 1024;
inline constexpr int kList = 2 * kSampleThreads;
inline constexpr std::uint64_t kNoEntry = ~std::uint64_t{0};

struct Row {
  const float* logits;
  std::int64_t n;
  const std::uint8_t* seen;
  double penalty;
  __device__ float score(std::int64_t i) const {
    const float logit = logits[i];
    return seen != nullptr && seen[i] != 0 ? penalised(logit, penalty) : logit;
  }
};

// Sum of what the threads before this one have, and of all.
struct Scan {
  std::uint64_t before, total;
};
__device__ inline Scan scan(std::uint64_t mine) {
  __shared__ std::uint64_t of_warp[kSampleThreads / 32];
  const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
  std::uint64_t up_to = mine;
#pragma unroll
  for (int step = 1; step < 32; step *= 2) {
    const std::uint64_t other = __shfl_up_sync(0xFFFFFFFFu, up_to, step);
    if (lane >= step) up_to += other;
  }
  __syncthreads();  // whoever still reads the sums of the last scan
  if (lane == 31) of_warp[warp] = up_to;
  __syncthreads();
  Scan result{up_to - mine, 0};
  for (int w = 0; w < kSampleThreads / 32; ++w) {
    const std::uint64_t sum = of_warp[w];
    if (w < warp) result.before += sum;
    result.total += sum;
  }
  return result;
}

// Sorts kCount values of shared memory, rising; kCount a power of two, at most two a thread.
template <int kCount, class T>
__device__ void sort_shared(T* values) {
  for (int size = 2; size <= kCount; size *= 2) {
    for (int step = size / 2; step > 0; step /= 2) {
      __syncthreads();
      for (int pair = static_cast<int>(threadIdx.x); pair < kCount / 2; pair += kSampleThreads) {
        const int low = pair / step * 2 * step + pair % step, high = low + step;
        const T a = values[low], b = values[high];
        if ((a > b) == ((low & size) == 0)) {
          values[low] = b;
          values[high] = a;
        }
      }
    }
  }
  __syncthreads();
}

// Nothing is cut off but by min_weight: the draw over the row in the order of its ids, a run for each thread.
__device__ inline void draw_from_row(const Row& row, const SamplingRule& rule, std::uint64_t bits,
                                     float greatest, Sampled* out) {
  const std::int64_t run = (row.n + kSampleThreads - 1) / kSampleThreads;
  const std::int64_t first = min(row.n, threadIdx.x * run), end = min(row.n, first + run);
  const auto weight = [&](std::int64_t i) -> std::uint64_t {
    const std::uint64_t w = sampling_weight(greatest, row.score(i), rule.scale);
    return w >= rule.min_weight ? w : 0;
  };
  std::uint64_t sum = 0;
  for (std::int64_t i = first; i < end; ++i) sum += weight(i);
  const Scan all = scan(sum);
  const std::uint64_t target = sampling_target(all.total, bits);
  if (target < all.before || target - all.before >= sum) return;
  std::uint64_t left = target - all.before;
  for (std::int64_t i = first; i < end; ++i) {
    const std::uint64_t w = weight(i);
    if (left < w) {
      out->best.id = static_cast<std::int32_t>(i);
      return;
    }
    left -= w;
  }
}

// The greatest keys of the threads' shares of the row bound what can be among the first `rank`: the list of
// all that lies within the bound is complete down to there. Its entries are key * 2^32 + id.
__device__ inline void draw_from_list(const Row& row, const SamplingRule& rule, std::uint64_t bits,
                                      float greatest, std::uint32_t least_key, Sampled* out) {
  __shared__ std::uint64_t list[kList];
  __shared__ unsigned count;
  auto* const keys = reinterpret_cast<std::uint32_t*>(list);
  keys[threadIdx.x] = least_key;
  if (threadIdx.x == 0) count = 0;
  sort_shared<kSampleThreads>(keys);
  const std::int64_t rank = min(row.n, rule.top_k > 0 ? rule.top_k : kMaxTopK);
  const std::uint32_t bound = keys[rank - 1];
  __syncthreads();
  list[threadIdx.x] = list[threadIdx.x + kSampleThreads] = kNoEntry;
  __syncthreads();
  std::uint64_t sum = 0;
#pragma unroll 4
  for (std::int64_t i = threadIdx.x; i < row.n; i += kSampleThreads) {
    const float score = row.score(i);
    const std::uint32_t key = falling_key(score);
    if (rule.top_k == 0) sum += sampling_weight(greatest, score, rule.scale);
    if (key > bound) continue;
    const unsigned place = atomicAdd(&count, 1u);
    if (place < kList) list[place] = static_cast<std::uint64_t>(key) << 32 | static_cast<std::uint64_t>(i);
  }
  const std::uint64_t row_total = scan(sum).total;
  if (count > kList) {
    if (threadIdx.x == 0) out->served = 0;
    return;
  }
  sort_shared<kList>(list);

  const std::int64_t kept = rule.top_k > 0 ? min(row.n, rule.top_k) : static_cast<std::int64_t>(count);
  std::uint64_t weights[2];
#pragma unroll
  for (int j = 0; j < 2; ++j) {
    const int place = 2 * static_cast<int>(threadIdx.x) + j;
    const auto key = static_cast<std::uint32_t>(list[place] >> 32);
    weights[j] = place < kept ? sampling_weight(greatest, score_of_key(key), rule.scale) : 0;
  }
  if (rule.top_p != 0) {
    const Scan all = scan(weights[0] + weights[1]);
    const std::uint64_t share = share_of(rule.top_k > 0 ? all.total : row_total, rule.top_p);
    if (all.total < share) {
      if (threadIdx.x == 0) out->served = 0;
      return;
    }
    if (all.before + weights[0] >= share) weights[1] = 0;
    if (all.before >= share) weights[0] = 0;
  }
#pragma unroll
  for (int j = 0; j < 2; ++j) {
    if (weights[j] < rule.min_weight) weights[j] = 0;
  }
  const Scan all = scan(weights[0] + weights[1]);
  const std::uint64_t target = sampling_target(all.total, bits);
  if (target < all.before || target - all.before >= weights[0] + weights[1]) return;
  const std::uint64_t entry = list[2 * threadIdx.x + (target - all.before < weights[0] ? 0 : 1)];
  out->best.id = static_cast<std::int32_t>(entry & 0xFFFFFFFFu);
}

__global__ inline void __launch_bounds__(kSampleThreads)
    sample_kernel(Row row, SamplingRule rule, std::uint64_t bits, Sampled* out) {
  Best mine = empty_best();
  std::uint32_t least_key = 0xFFFFFFFFu;
#pragma unroll 8
  for (std::int64_t i = threadIdx.x; i < row.n; i += kSampleThreads) {
    const float score = row.score(i);
    mine = better(mine, best_of_one(i, score));
    least_key = min(least_key, falling_key(score));
  }
  mine = block_best<kSampleThreads>(mine);
  __shared__ Best best;
  if (threadIdx.x == 0) {
    best = mine;
    *out = {mine, 1};
  }
  __syncthreads();  // before another thread names another id
  if (rule.scale == 0.0 || best.finite == 0) return;
  if (rule.top_k == 0 && rule.top_p == 0)
    draw_from_row(row, rule, bits, best.top1, out);
  else
    draw_from_list(row, rule, bits, best.top1, least_key, out);
}

}  // namespace tetrad::ops::cuda

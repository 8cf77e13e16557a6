#include "generate/sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace tetrad::generate {
namespace {

// SplitMix64's finaliser (Steele et al. 2014) over (seed, draw): a counter generator, so a draw can be
// repeated alone.
double uniform(std::uint64_t seed, std::uint64_t draw) {
  std::uint64_t z = seed * 0x9E3779B97F4A7C15ULL + (draw + 1) * 0xD1B54A32D192ED03ULL;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  z ^= z >> 31;
  return static_cast<double>(z >> 11) * 0x1.0p-53;
}

void penalise(std::vector<float>& scores, std::span<const std::int32_t> context, double penalty) {
  std::vector<std::int32_t> seen(context.begin(), context.end());
  std::sort(seen.begin(), seen.end());
  seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
  for (const std::int32_t id : seen) {
    if (id < 0 || static_cast<std::size_t>(id) >= scores.size()) continue;
    float& score = scores[static_cast<std::size_t>(id)];
    score = static_cast<float>(score > 0 ? score / penalty : score * penalty);
  }
}

}  // namespace

Choice Sampler::pick(std::span<const float> logits, std::span<const std::int32_t> context) {
  scores_.assign(logits.begin(), logits.end());
  if (options_.repetition_penalty != 1.0) penalise(scores_, context, options_.repetition_penalty);

  Choice choice;
  const auto best = std::max_element(scores_.begin(), scores_.end());
  choice.id = static_cast<std::int32_t>(best - scores_.begin());
  choice.top1 = *best;
  choice.top2 = -INFINITY;
  for (auto it = scores_.begin(); it != scores_.end(); ++it) {
    if (it != best) choice.top2 = std::max(choice.top2, *it);
  }
  const std::uint64_t draw = draws_++;
  if (options_.temperature == 0.0) return choice;

  // Sorted by falling score, ties by id, so that the result does not depend on the sort's internals.
  order_.resize(scores_.size());
  std::iota(order_.begin(), order_.end(), 0);
  const auto larger = [this](std::int32_t a, std::int32_t b) {
    const float x = scores_[static_cast<std::size_t>(a)], y = scores_[static_cast<std::size_t>(b)];
    return x != y ? x > y : a < b;
  };
  std::size_t kept = order_.size();
  if (options_.top_k > 0) kept = std::min(kept, static_cast<std::size_t>(options_.top_k));
  std::partial_sort(order_.begin(), order_.begin() + static_cast<std::ptrdiff_t>(kept), order_.end(), larger);

  std::vector<double> weight(kept);
  double total = 0.0;
  for (std::size_t i = 0; i < kept; ++i) {
    const double score = scores_[static_cast<std::size_t>(order_[i])];
    weight[i] = std::exp((score - choice.top1) / options_.temperature);
    total += weight[i];
  }
  if (options_.top_p < 1.0) {
    double cumulative = 0.0;
    std::size_t i = 0;
    while (i < kept && cumulative < options_.top_p * total) cumulative += weight[i++];
    kept = std::max<std::size_t>(i, 1);
  }
  if (options_.min_p > 0.0) {
    std::size_t i = 1;
    while (i < kept && weight[i] >= options_.min_p * weight[0]) ++i;
    kept = i;
  }
  total = std::accumulate(weight.begin(), weight.begin() + static_cast<std::ptrdiff_t>(kept), 0.0);
  double target = uniform(options_.seed, draw) * total;
  std::size_t i = 0;
  while (i + 1 < kept && target >= weight[i]) target -= weight[i++];
  choice.id = order_[i];
  return choice;
}

}  // namespace tetrad::generate

#include "generate/sampler.h"

#include <tetrad/base/error.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <utility>

namespace tetrad::generate {
namespace {

constexpr double kLog2E = 1.4426950408889634;

void penalise(std::vector<float>& scores, std::span<const std::int32_t> context, double penalty) {
  std::vector<std::int32_t> seen(context.begin(), context.end());
  std::sort(seen.begin(), seen.end());
  seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
  for (const std::int32_t id : seen) {
    if (id < 0 || static_cast<std::size_t>(id) >= scores.size()) continue;
    float& score = scores[static_cast<std::size_t>(id)];
    score = ops::penalised(score, penalty);
  }
}

}  // namespace

Sampler::Sampler(const SamplingOptions& options) : seed_(options.seed) {
  if (options.temperature > 0.0) rule_.scale = kLog2E / options.temperature;
  rule_.top_k = std::max<std::int64_t>(options.top_k, 0);
  if (options.top_p < 1.0)
    rule_.top_p = std::max<std::uint64_t>(1, static_cast<std::uint64_t>(options.top_p * 0x1p64));
  rule_.min_weight = static_cast<std::uint64_t>(std::ceil(std::clamp(options.min_p, 0.0, 1.0) * 0x1p40));
  rule_.penalty = options.repetition_penalty;
}

Choice Sampler::pick(std::span<const float> logits, std::span<const std::int32_t> context) {
  if (static_cast<std::int64_t>(logits.size()) > ops::kMaxSampled)
    throw Error("[sampler] a choice among " + std::to_string(logits.size()) + " tokens");
  scores_.assign(logits.begin(), logits.end());
  if (rule_.penalty != 1.0) penalise(scores_, context, rule_.penalty);

  Choice choice;
  const auto best = std::max_element(scores_.begin(), scores_.end());
  choice.id = static_cast<std::int32_t>(best - scores_.begin());
  choice.top1 = *best;
  choice.top2 = -INFINITY;
  for (auto it = scores_.begin(); it != scores_.end(); ++it) {
    if (it != best) choice.top2 = std::max(choice.top2, *it);
  }
  const std::uint64_t bits = next_bits();
  skip();
  if (rule_.scale == 0.0) return choice;
  choice.id = rule_.top_k == 0 && rule_.top_p == 0 ? draw_from_all(choice.top1, bits)
                                                   : draw_from_first(choice.top1, bits);
  return choice;
}

std::int32_t Sampler::draw_from_all(float greatest, std::uint64_t bits) {
  weights_.clear();
  std::uint64_t total = 0;
  for (const float score : scores_) {
    const std::uint64_t weight = ops::sampling_weight(greatest, score, rule_.scale);
    weights_.push_back(weight >= rule_.min_weight ? weight : 0);
    total += weights_.back();
  }
  return static_cast<std::int32_t>(falls_on(ops::sampling_target(total, bits)));
}

std::int32_t Sampler::draw_from_first(float greatest, std::uint64_t bits) {
  // Falling scores, ids among equal ones.
  order_.clear();
  for (std::size_t i = 0; i < scores_.size(); ++i)
    order_.push_back(static_cast<std::uint64_t>(ops::falling_key(scores_[i])) << 32 | i);
  const auto weight_of = [&](std::uint64_t entry) {
    return ops::sampling_weight(greatest, scores_[static_cast<std::size_t>(entry & 0xFFFFFFFFU)],
                                rule_.scale);
  };
  std::size_t kept = order_.size();
  std::uint64_t total = 0;
  if (rule_.top_k > 0) {
    kept = std::min(kept, static_cast<std::size_t>(rule_.top_k));
    std::partial_sort(order_.begin(), order_.begin() + static_cast<std::ptrdiff_t>(kept), order_.end());
    order_.resize(kept);
  }
  for (const std::uint64_t entry : order_) total += weight_of(entry);
  const std::uint64_t share = rule_.top_p != 0 ? ops::share_of(total, rule_.top_p) : total;

  weights_.clear();
  const auto take = [&](std::uint64_t entry) {
    weights_.push_back(weight_of(entry));
    return weights_.back();
  };
  std::uint64_t reached = 0;
  if (rule_.top_k > 0) {
    for (std::size_t i = 0; i < kept && reached < share; ++i) reached += take(order_[i]);
  } else {
    // The first few of many: a heap gives them in order without sorting the rest.
    const auto later = std::greater<>();
    std::make_heap(order_.begin(), order_.end(), later);
    std::vector<std::uint64_t> first;
    while (!order_.empty() && reached < share) {
      std::pop_heap(order_.begin(), order_.end(), later);
      first.push_back(order_.back());
      order_.pop_back();
      reached += take(first.back());
    }
    order_ = std::move(first);
  }
  total = 0;
  for (std::uint64_t& weight : weights_) {
    if (weight < rule_.min_weight) weight = 0;
    total += weight;
  }
  return static_cast<std::int32_t>(order_[falls_on(ops::sampling_target(total, bits))] & 0xFFFFFFFFU);
}

std::size_t Sampler::falls_on(std::uint64_t target) const {
  std::size_t i = 0;
  while (target >= weights_[i]) target -= weights_[i++];
  return i;
}

}  // namespace tetrad::generate

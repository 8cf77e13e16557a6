// Picks the next token from logits: greedy, or temperature with top-k, top-p and min-p, after a repetition
// penalty. The same seed and the same logits give the same tokens on every machine and device: draws come
// from a counter generator, and probabilities are integers (ops/sampling.h, which has the rule; a CUDA device
// runs it in ops/cuda/sample.cu).
//
// Order, as transformers applies it: repetition penalty -> temperature -> top-k -> top-p -> min-p -> draw.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ops/sampling.h"

namespace tetrad::generate {

struct SamplingOptions {
  double temperature = 0.0;  // 0: greedy, the lowest id wins a tie
  std::int64_t top_k = 0;    // 0: off
  double top_p = 1.0;        // 1: off
  double min_p = 0.0;        // 0: off; tokens below min_p times the largest probability are dropped
  double repetition_penalty =
      1.0;  // 1: off; divides positive and multiplies negative logits of tokens in the context
  std::uint64_t seed = 0;
};

struct Choice {
  std::int32_t id = 0;
  float top1 = 0.0F;  // largest logit and the next one, after the penalty: how close the call was
  float top2 = 0.0F;
};

class Sampler {
 public:
  explicit Sampler(const SamplingOptions& options);

  // logits: one value per vocabulary entry, finite, at most ops::kMaxSampled. context: every token so far,
  // for the penalty. Each call is one draw; draw number n depends on the seed and n alone.
  Choice pick(std::span<const float> logits, std::span<const std::int32_t> context);

  // Whether pick() would give the largest logit, lowest id first, and nothing else matters.
  bool takes_the_best() const noexcept { return rule_.scale == 0.0 && rule_.penalty == 1.0; }

  // What pick() does next, for one who does it elsewhere and then passes over the draw.
  const ops::SamplingRule& rule() const noexcept { return rule_; }
  std::uint64_t next_bits() const noexcept { return ops::sampling_bits(seed_, draws_); }
  void skip() noexcept { ++draws_; }

  std::uint64_t draws() const noexcept { return draws_; }

 private:
  std::int32_t draw_from_all(float greatest, std::uint64_t bits);
  std::int32_t draw_from_first(float greatest, std::uint64_t bits);
  // The index in weights_ whose share of their sum holds `target`.
  std::size_t falls_on(std::uint64_t target) const;

  ops::SamplingRule rule_;
  std::uint64_t seed_;
  std::uint64_t draws_ = 0;
  std::vector<float> scores_;
  std::vector<std::uint64_t> order_;  // falling_key * 2^32 + id
  std::vector<std::uint64_t> weights_;
};

}  // namespace tetrad::generate

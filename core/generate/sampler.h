// Picks the next token from logits: greedy, or temperature with top-k, top-p and min-p, after a repetition
// penalty. The same seed and the same logits give the same tokens on every machine: draws come from a counter
// generator, and sums run in double over a stable order.
//
// Order, as transformers applies it: repetition penalty -> temperature -> top-k -> top-p -> min-p -> draw.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

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
  explicit Sampler(const SamplingOptions& options) : options_(options) {}

  // logits: one value per vocabulary entry, finite. context: every token so far, for the penalty. Each call
  // is one draw; draw number n depends on the seed and n alone.
  Choice pick(std::span<const float> logits, std::span<const std::int32_t> context);

  // Whether pick() would give the largest logit, lowest id first, and nothing else matters.
  bool takes_the_best() const noexcept {
    return options_.temperature == 0.0 && options_.repetition_penalty == 1.0;
  }

  std::uint64_t draws() const noexcept { return draws_; }

 private:
  SamplingOptions options_;
  std::uint64_t draws_ = 0;
  std::vector<float> scores_;
  std::vector<std::int32_t> order_;
};

}  // namespace tetrad::generate

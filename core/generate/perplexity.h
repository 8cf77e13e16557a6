// Perplexity of a text: its ids are cut into windows that start every `stride` tokens; each window is fed
// from an empty context, and only tokens that no earlier window scored are counted (the first token of all
// has no prediction). PPL = exp(mean negative log likelihood, nats).
#pragma once

#include "generate/context.h"

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace tetrad::generate {

struct TextWindows {
  std::int64_t window = 1024;  // tokens; at most the context's limit
  std::int64_t stride = 1024;  // 1 .. window
};

struct TextScore {
  double nll = 0.0;               // sum over the scored tokens, nats
  double nll_squared = 0.0;       // sum of the squares
  std::int64_t tokens = 0;        // scored
  std::vector<double> token_nll;  // of each scored token, in the text's order

  double nll_per_token() const;
  double perplexity() const;
  // Of the perplexity: the scored tokens taken as independent draws.
  double standard_error() const;
};

// `before_window(tokens scored so far, end of the next window)` may throw to end it; the context is left
// holding the last window. Throws Error for fewer than two ids and for windows that make no sense.
TextScore score_text(Context& context, std::span<const std::int32_t> ids, const TextWindows& windows,
                     const std::function<void(std::int64_t, std::int64_t)>& before_window = {});

}  // namespace tetrad::generate

#include "generate/perplexity.h"

#include <ATen/ops/log_softmax.h>
#include <tetrad/base/error.h>

#include <algorithm>
#include <cmath>
#include <string>

namespace tetrad::generate {
namespace {

// Scores targets at positions [scored_to, end) of `ids` from a context that begins at `begin`.
void score_window(Context& context, std::span<const std::int32_t> ids, std::int64_t begin, std::int64_t end,
                  std::int64_t scored_to, TextScore& score) {
  context.reset();
  const auto window = ids.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin));
  context.feed_all(window, [&](std::int64_t first, const at::Tensor& logits) {
    // Row i predicts position begin + first + i + 1.
    const at::Tensor log_p = at::log_softmax(logits.cpu(), -1);
    const auto rows = log_p.accessor<float, 2>();
    for (std::int64_t i = 0; i < log_p.size(0); ++i) {
      const std::int64_t target = begin + first + i + 1;
      if (target >= end || target < std::max(scored_to, begin + 1)) continue;
      const double nll = -static_cast<double>(rows[i][ids[static_cast<std::size_t>(target)]]);
      score.nll += nll;
      score.nll_squared += nll * nll;
      ++score.tokens;
      score.token_nll.push_back(nll);
    }
  });
}

}  // namespace

double TextScore::nll_per_token() const {
  return nll / static_cast<double>(tokens);
}

double TextScore::perplexity() const {
  return std::exp(nll_per_token());
}

double TextScore::standard_error() const {
  const auto count = static_cast<double>(tokens);
  const double mean = nll_per_token();
  const double variance = std::max(0.0, nll_squared / count - mean * mean);
  return perplexity() * std::sqrt(variance / count);
}

TextScore score_text(Context& context, std::span<const std::int32_t> ids, const TextWindows& windows,
                     const std::function<void(std::int64_t, std::int64_t)>& before_window) {
  const auto total = static_cast<std::int64_t>(ids.size());
  if (total < 2) throw Error(ExitCode::usage, "[perplexity] fewer than two tokens: nothing to predict");
  if (windows.window < 2 || windows.stride < 1 || windows.stride > windows.window) {
    throw Error(ExitCode::usage, "[perplexity] windows of " + std::to_string(windows.window) +
                                     " tokens that start every " + std::to_string(windows.stride) +
                                     " do not cover a text; use 1 <= stride <= window >= 2");
  }
  TextScore score;
  std::int64_t scored_to = 0;
  for (std::int64_t begin = 0; begin + 1 < total && scored_to < total; begin += windows.stride) {
    const std::int64_t end = std::min(total, begin + windows.window);
    if (before_window) before_window(score.tokens, end);
    score_window(context, ids, begin, end, scored_to, score);
    scored_to = end;
  }
  return score;
}

}  // namespace tetrad::generate

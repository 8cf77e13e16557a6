// Perplexity of two arms on the same text: their ratio, and how far off it may be by chance. Where both arms
// kept the loss of every token the standard error is that of the paired differences, which is far smaller
// than what the two perplexities' own errors suggest, because hard tokens are hard for both.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <optional>

namespace tetrad::parity {

struct PerplexityRatio {
  double ratio = 1;           // own / reference
  double standard_error = 0;  // of its logarithm
  bool paired = false;
};

// "perplexity" of two arm.json; nothing when one has none.
std::optional<PerplexityRatio> perplexity_ratio(const nlohmann::json& reference, const nlohmann::json& own);

}  // namespace tetrad::parity

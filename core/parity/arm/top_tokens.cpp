#include "parity/arm/top_tokens.h"

#include "parity/arm/pieces.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace tetrad::parity {

nlohmann::json top_tokens(std::span<const float> logits, std::int64_t count,
                          const text::Tokenizer& tokenizer) {
  std::vector<std::int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const auto at = [&](std::int32_t id) { return logits[static_cast<std::size_t>(id)]; };
  const auto shown =
      std::min<std::size_t>(order.size(), static_cast<std::size_t>(std::max<std::int64_t>(count, 1)));
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(shown), order.end(),
                    [&](std::int32_t a, std::int32_t b) { return at(a) != at(b) ? at(a) > at(b) : a < b; });
  const double largest = at(order.front());
  double sum = 0.0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - largest);
  nlohmann::json top = nlohmann::json::array();
  for (std::size_t i = 0; i < std::min(shown, static_cast<std::size_t>(std::max<std::int64_t>(count, 0)));
       ++i)
    top.push_back({{"id", order[i]},
                   {"piece", token_piece(tokenizer, order[i])},
                   {"logit", at(order[i])},
                   {"prob", std::exp(static_cast<double>(at(order[i])) - largest) / sum}});
  return top;
}

}  // namespace tetrad::parity

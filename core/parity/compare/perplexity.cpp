#include "parity/compare/perplexity.h"

#include "parity/fields.h"

#include <algorithm>
#include <cmath>

namespace tetrad::parity {

using nlohmann::json;

std::optional<PerplexityRatio> perplexity_ratio(const json& reference, const json& own) {
  const auto a = number(reference, "value");
  const auto b = number(own, "value");
  if (!a || !b || *a <= 0 || *b <= 0) return std::nullopt;
  PerplexityRatio result;
  result.ratio = *b / *a;
  const double ea = number(reference, "standard_error").value_or(0) / *a;
  const double eb = number(own, "standard_error").value_or(0) / *b;
  result.standard_error = std::hypot(ea, eb);

  const json& r = at(reference, "token_nll");
  const json& o = at(own, "token_nll");
  const auto numbers = [](const json& list) {
    return list.is_array() &&
           std::all_of(list.begin(), list.end(), [](const json& v) { return v.is_number(); });
  };
  if (!numbers(r) || !numbers(o) || r.size() != o.size() || r.size() < 2) return result;
  const auto n = static_cast<double>(r.size());
  double mean = 0;
  for (std::size_t i = 0; i < r.size(); ++i) mean += (o[i].get<double>() - r[i].get<double>()) / n;
  double variance = 0;
  for (std::size_t i = 0; i < r.size(); ++i) {
    variance += std::pow(o[i].get<double>() - r[i].get<double>() - mean, 2) / (n - 1);
  }
  result.standard_error = std::sqrt(variance / n);
  result.paired = true;
  return result;
}

}  // namespace tetrad::parity

#include "parity/compare/row.h"

#include <algorithm>
#include <cmath>

namespace tetrad::parity {

namespace {

struct Top {
  std::size_t at = 0;
  bool finite = true;
};

Top top(std::span<const float> row) {
  Top result;
  for (std::size_t i = 0; i < row.size(); ++i) {
    if (!std::isfinite(row[i])) {
      result.finite = false;
      return result;
    }
    if (row[i] > row[result.at]) result.at = i;
  }
  return result;
}

double log_sum_exp(std::span<const float> row, double greatest) {
  double sum = 0;
  for (const float value : row) sum += std::exp(static_cast<double>(value) - greatest);
  return greatest + std::log(sum);
}

}  // namespace

RowFigures compare_rows(std::span<const float> reference, std::span<const float> own) {
  RowFigures figures;
  const Top r = top(reference);
  const Top o = top(own);
  figures.reference_finite = r.finite;
  figures.own_finite = o.finite;
  if (!r.finite || !o.finite) return figures;
  figures.reference_top = static_cast<std::int64_t>(r.at);
  figures.own_top = static_cast<std::int64_t>(o.at);
  figures.agrees = r.at == o.at || reference[r.at] == reference[o.at] || own[r.at] == own[o.at];
  figures.reference_gap = static_cast<double>(reference[r.at]) - static_cast<double>(reference[o.at]);

  const double reference_lse = log_sum_exp(reference, reference[r.at]);
  const double own_lse = log_sum_exp(own, own[o.at]);
  double kl = 0;
  double mean = 0;    // of the reference's log probabilities, each token counting once
  double square = 0;  // of the same
  for (std::size_t i = 0; i < reference.size(); ++i) {
    const double log_p = static_cast<double>(reference[i]) - reference_lse;
    const double log_q = static_cast<double>(own[i]) - own_lse;
    const double p = std::exp(log_p);
    kl += p * (log_p - log_q);
    mean += log_p;
    square += log_p * log_p;
    const double difference = std::fabs(static_cast<double>(reference[i]) - static_cast<double>(own[i]));
    figures.max_difference = std::max(figures.max_difference, difference);
    figures.sum_difference += difference;
  }
  figures.kl = std::max(0.0, kl);  // rounding leaves -1e-17 where the rows are equal
  mean /= static_cast<double>(reference.size());
  square /= static_cast<double>(reference.size());
  figures.reference_spread = std::sqrt(std::max(0.0, square - mean * mean));
  return figures;
}

}  // namespace tetrad::parity

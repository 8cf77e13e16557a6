#include "parity/compare/quantile.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace tetrad::parity {

namespace {

constexpr std::size_t bins = std::size_t{1} << 16;

std::uint32_t bits(float value) noexcept {
  return std::bit_cast<std::uint32_t>(value == 0.0F ? 0.0F : value);  // -0 counts as 0
}

}  // namespace

Quantile::Quantile(double q) : q_(q), upper_(bins, 0) {}

void Quantile::count(float value) noexcept {
  ++upper_[bits(value) >> 16];
  ++values_;
}

void Quantile::narrow() {
  if (values_ == 0) return;
  const double rank = q_ * static_cast<double>(values_ - 1);
  const double below = std::floor(rank);
  fraction_ = rank - below;
  for (std::size_t i = 0; i < ranks_.size(); ++i) {
    std::uint64_t left = std::min(static_cast<std::uint64_t>(below) + i, values_ - 1);
    std::uint32_t bin = 0;
    while (left >= upper_[bin]) left -= upper_[bin++];
    ranks_[i] = {left, bin, std::vector<std::uint64_t>(bins, 0)};
  }
}

void Quantile::count_again(float value) noexcept {
  const std::uint32_t all = bits(value);
  for (Rank& rank : ranks_) {
    if (all >> 16 == rank.bin && !rank.lower.empty()) ++rank.lower[all & 0xFFFF];
  }
}

float Quantile::order_statistic(const Rank& rank) const {
  std::uint64_t left = rank.inside;
  std::uint32_t low = 0;
  while (low + 1 < bins && left >= rank.lower[low]) left -= rank.lower[low++];
  return std::bit_cast<float>(rank.bin << 16 | low);
}

double Quantile::value() const {
  if (values_ == 0 || ranks_[0].lower.empty()) return 0;
  const double below = order_statistic(ranks_[0]);
  const double above = order_statistic(ranks_[1]);
  return below + fraction_ * (above - below);
}

}  // namespace tetrad::parity

// A quantile of more values than one keeps: exact to fp32 in two passes over the values, with two histograms
// over the bits of the values' fp32 form (which order as the values do, being >= 0). The definition is
// numpy's default: linear between the two order statistics around rank q * (n - 1).
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace tetrad::parity {

class Quantile {
 public:
  explicit Quantile(double q);

  // Pass 1: every value, finite and >= 0.
  void count(float value) noexcept;
  // Between the passes.
  void narrow();
  // Pass 2: the same values again, in any order.
  void count_again(float value) noexcept;
  // Throws nothing; 0 without values.
  double value() const;

  std::uint64_t values() const noexcept { return values_; }

 private:
  struct Rank {
    std::uint64_t inside = 0;  // rank among the values of its bin
    std::uint32_t bin = 0;
    std::vector<std::uint64_t> lower;  // histogram of the low 16 bits of that bin's values
  };
  float order_statistic(const Rank& rank) const;

  double q_;
  std::uint64_t values_ = 0;
  double fraction_ = 0;
  std::vector<std::uint64_t> upper_;  // histogram of the high 16 bits
  std::array<Rank, 2> ranks_;
};

}  // namespace tetrad::parity

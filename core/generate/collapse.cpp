#include "generate/collapse.h"

#include <algorithm>

namespace tetrad::generate {

std::optional<Collapse> find_collapse(std::span<const std::int32_t> output) {
  const auto size = static_cast<std::int64_t>(output.size());
  for (std::int64_t period = 1; period <= collapse_max_period; ++period) {
    std::int64_t run = std::min(size, period);
    while (run < size && output[static_cast<std::size_t>(size - 1 - run)] ==
                             output[static_cast<std::size_t>(size - 1 - run + period)]) {
      ++run;
    }
    const std::int64_t repeats = run / period;
    if (run >= collapse_min_tokens && repeats >= collapse_min_repeats) return Collapse{period, repeats};
  }
  return std::nullopt;
}

std::string describe(const Collapse& collapse) {
  const std::string repeated = std::to_string(collapse.repeats) + " times in a row";
  if (collapse.period == 1) return "the same token " + repeated;
  return "the same cycle of " + std::to_string(collapse.period) + " tokens " + repeated;
}

}  // namespace tetrad::generate

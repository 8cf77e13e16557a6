// Bytes for people in the unit that suits them: "12.3 GiB", "471 MiB", "8.25 KiB"; three significant digits.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string>

namespace tetrad::train {

inline std::string bytes_text(std::int64_t bytes) {
  const char* const units[] = {"B", "KiB", "MiB", "GiB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (unit < 3 && value >= 1000.0) {
    value /= 1024.0;
    ++unit;
  }
  const int decimals = unit == 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  return fmt::format("{:.{}f} {}", value, decimals, units[unit]);
}

}  // namespace tetrad::train

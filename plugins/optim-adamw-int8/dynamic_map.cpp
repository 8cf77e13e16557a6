#include "dynamic_map.h"

#include <algorithm>
#include <cmath>

namespace tetrad::optim_adamw_int8 {

DynamicMap dynamic_map(bool with_sign) {
  DynamicMap map{};
  std::size_t at = 0;
  for (int decade = 0; decade < 7; ++decade) {
    const int parts = with_sign ? 1 << decade : 2 << decade;
    const double unit = std::pow(10.0, decade - 6);
    for (int i = 0; i < parts; ++i) {
      const double low = 0.1 + 0.9 * i / parts, high = 0.1 + 0.9 * (i + 1) / parts;
      const auto value = static_cast<float>(unit * (low + high) / 2);
      map[at++] = value;
      if (with_sign) map[at++] = -value;
    }
  }
  map[at++] = 0.0F;
  map[at++] = 1.0F;
  std::sort(map.begin(), map.end());
  return map;
}

}  // namespace tetrad::optim_adamw_int8

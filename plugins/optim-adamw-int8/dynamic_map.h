// The 8-bit "dynamic exponent" maps of Dettmers et al., "8-bit Optimizers via Block-wise Quantization"
// (2110.02861, section 1.3), as bitsandbytes' create_dynamic_map and torchao compute them: 7 decades from
// 10^-7 to 1; decade i holds 2^i (signed, of either sign) or 2^(i+1) (unsigned) values, the middles of equal
// parts of [0.1, 1] times 10^(i - 6); with 0 and 1 that makes 256, in ascending order.
#pragma once

#include <array>

namespace tetrad::optim_adamw_int8 {

using DynamicMap = std::array<float, 256>;

DynamicMap dynamic_map(bool with_sign);

}  // namespace tetrad::optim_adamw_int8

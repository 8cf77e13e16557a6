// Sums over blocks without atomics: each block leaves a row of partial sums, and a second kernel adds the
// rows in a fixed order.
#pragma once

#include <cstdint>

#include "ops/cuda/kernels.h"

namespace tetrad::ops::cuda {

// out[c] = sum of partial[r * n + c] over the rows, in fp32.
void sum_columns(const float* partial, std::int64_t rows, std::int64_t n, float* out, Stream stream);

// Multiprocessors of the current device; asked once for each.
std::int64_t processors();

}  // namespace tetrad::ops::cuda

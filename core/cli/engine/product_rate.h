// How many floating point operations a second a large matrix product reaches on this machine, in the run's
// dtype: the roofline that a training step is compared with. Measured once at the start of a run.
#pragma once

#include "device/choose.h"

#include <c10/core/ScalarType.h>

#include <cstdint>
#include <nlohmann/json_fwd.hpp>

namespace tetrad::cli {

struct ProductRate {
  double flops_per_second = 0.0;  // the best of the samples
  std::int64_t size = 0;          // of the three sides
  at::ScalarType dtype = at::kFloat;

  nlohmann::json to_json() const;
};

// Takes about a tenth of a second, and on a device 100 MB while it runs.
ProductRate measure_product_rate(const device::Choice& device, at::ScalarType dtype);

}  // namespace tetrad::cli

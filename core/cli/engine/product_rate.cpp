#include "cli/engine/product_rate.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>
#include <c10/core/ScalarType.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

namespace tetrad::cli {

nlohmann::json ProductRate::to_json() const {
  return {{"flops_per_second", flops_per_second},
          {"method", "matrix product, best of the samples"},
          {"size", size},
          {"dtype", c10::toString(dtype)}};
}

ProductRate measure_product_rate(const device::Choice& device, at::ScalarType dtype) {
  const at::NoGradGuard no_grad;
  const bool host = device.runtime == nullptr;
  ProductRate rate;
  rate.dtype = dtype;
  rate.size = host ? 512 : 4096;
  const auto options = at::TensorOptions().dtype(dtype).device(device.device);
  const at::Tensor a = at::ones({rate.size, rate.size}, options),
                   b = at::ones({rate.size, rate.size}, options);
  const int products = host ? 1 : 8, samples = 6;  // several in one sample, so that launches do not count
  const auto size = static_cast<double>(rate.size);
  for (int i = 0; i <= samples; ++i) {
    const auto start = std::chrono::steady_clock::now();
    for (int n = 0; n < products; ++n) (void)at::mm(a, b);
    if (!host) device.runtime->synchronize(device.device.index());
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (i == 0) continue;  // the libraries start up
    rate.flops_per_second =
        std::max(rate.flops_per_second, 2.0 * size * size * size * products / std::max(seconds, 1e-9));
  }
  return rate;
}

}  // namespace tetrad::cli

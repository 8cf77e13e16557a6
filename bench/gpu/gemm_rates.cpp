// 4,096 rows of x against packed weights, dequantised in strips into one bounded workspace, beside cuBLAS on
// the same weights in bf16.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/randn.h>
#include <c10/cuda/CUDAGuard.h>
#include <tetrad/nvfp4/cuda.h>

#include <nlohmann/json.hpp>

#include "bench.h"
#include "shapes.h"

namespace tetrad::bench {

nlohmann::json gemm_rates(const Context& context) {
  nlohmann::json out = nlohmann::json::array();
  const c10::cuda::CUDAStreamGuard on_stream(c10::cuda::getStreamFromExternal(context.stream, 0));
  const auto options = at::TensorOptions().dtype(at::kBFloat16).device(at::kCUDA);
  constexpr std::int64_t kRows = 4096;
  const auto flop_rate = [](std::int64_t m, std::int64_t n, std::int64_t k, double ms) {
    return 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k) / (ms * 1e-3);
  };
  {
    const at::Tensor a = at::randn({8192, 8192}, options), b = at::randn({8192, 8192}, options);
    at::Tensor c = at::empty({8192, 8192}, options);
    const double ms = median_ms(context.stream, [&] { at::mm_out(c, a, b.t()); });
    out.push_back(
        {{"what", "bf16 GEMM 8192^3"}, {"ms", ms}, {"tflop_s", flop_rate(8192, 8192, 8192, ms) / 1e12}});
  }
  for (const LinearShape& shape : layer_shapes()) {
    std::int64_t n = 0;
    for (const std::int64_t rows : shape.rows) n += rows;
    const at::Tensor x = at::randn({kRows, shape.k}, options), w = at::randn({n, shape.k}, options);
    at::Tensor y = at::empty({kRows, n}, options);
    const Buffer codes(static_cast<std::size_t>(n * shape.k / 2), 256),
        scales(static_cast<std::size_t>(n * shape.k / 16), 0x7F);
    const double dense = median_ms(context.stream, [&] { at::mm_out(y, x, w.t()); });
    // The backend's strips (plugins/backend-nvfp4): 32 Mi elements, 64 MiB of bf16.
    const std::int64_t step = (std::int64_t{32} << 20) / shape.k / 128 * 128;
    const at::Tensor workspace = at::empty({std::min(step, n), shape.k}, options);
    const double packed = median_ms(context.stream, [&] {
      for (std::int64_t r = 0; r < n; r += step) {
        const std::int64_t rows = std::min(step, n - r);
        nvfp4::cuda::dequantize(codes.as<std::uint8_t>() + r * shape.k / 2,
                                scales.as<std::uint8_t>() + r * shape.k / 16, 1.0F, rows, shape.k,
                                static_cast<nvfp4::Bf16*>(workspace.mutable_data_ptr()), context.stream);
        at::Tensor part = y.narrow(1, r, rows);
        at::mm_out(part, x, workspace.narrow(0, 0, rows).t());
      }
    });
    out.push_back({{"what", shape.name},
                   {"rows_of_x", kRows},
                   {"bf16_ms", dense},
                   {"bf16_tflop_s", flop_rate(kRows, n, shape.k, dense) / 1e12},
                   {"packed_ms", packed},
                   {"packed_tflop_s", flop_rate(kRows, n, shape.k, packed) / 1e12},
                   {"share_of_bf16", dense / packed}});
  }
  return out;
}

}  // namespace tetrad::bench

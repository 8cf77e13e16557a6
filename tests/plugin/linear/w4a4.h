// The formula of a product whose operands are both in NVFP4, written from the operands' bytes alone: what the
// tests of W4A4 on the CPU and on a device compare with.
#pragma once

#include <ATen/ATen.h>
#include <tetrad/base/options.h>
#include <tetrad/nvfp4/e2m1.h>
#include <tetrad/nvfp4/e4m3.h>

#include <string>

#include "native_product.h"

namespace tetrad::linear_test {

inline Options w4a4_options(const std::string& compute, const std::string& activations = "nvfp4",
                            const std::string& global = "power_of_two",
                            const std::string& forward = "hi+lo") {
  return Options({{"eval_cache", true},
                  {"compute", compute},
                  {"residency", std::string("auto")},
                  {"activations", activations},
                  {"profile", std::string("te")},
                  {"global_scale", global},
                  {"forward", forward},
                  {"head", std::string("packed")},
                  {"embedding", std::string("dense")}});
}

// Values [rows, cols] in fp64. The place of a scale is cuBLASLt's: tiles of 128 rows x 4 blocks, row-major,
// inside a tile at (r % 32) * 16 + (r % 128) / 32 * 4 + b % 4.
inline at::Tensor decoded(const backend_nvfp4::Fp4Operand& operand, std::int64_t cols) {
  const at::Tensor codes = operand.codes.cpu().contiguous(), scales = operand.scales.cpu().contiguous();
  const auto* code = codes.const_data_ptr<std::uint8_t>();
  const auto* scale = scales.const_data_ptr<std::uint8_t>();
  const double decode = operand.decode.cpu().item<float>();
  const std::int64_t width = codes.size(1), tile_columns = (width / 8 + 3) / 4;
  const at::Tensor out = at::empty({operand.rows, cols}, at::kDouble);
  auto* to = out.mutable_data_ptr<double>();
  for (std::int64_t r = 0; r < operand.rows; ++r) {
    for (std::int64_t c = 0; c < cols; ++c) {
      const unsigned nibble = code[r * width + c / 2] >> (4 * (c % 2)) & 15U;
      const std::int64_t b = c / 16, tile = r / 128 * tile_columns + b / 4;
      const std::uint8_t s = scale[tile * 512 + r % 32 * 16 + r % 128 / 32 * 4 + b % 4];
      to[r * cols + c] = static_cast<double>(nvfp4::e2m1_decode(static_cast<std::uint8_t>(nibble))) *
                         static_cast<double>(nvfp4::e4m3_decode(s)) * decode;
    }
  }
  return out;
}

// What fp4_product computes, on any device and without FP4 tensor cores; it wants the shapes that scaled_mm
// wants.
inline at::Tensor product_by_formula(const backend_nvfp4::Fp4Operand& x, const backend_nvfp4::Fp4Operand& w,
                                     at::ScalarType dtype) {
  const std::int64_t k = 2 * x.codes.size(1);
  TORCH_CHECK(k == 2 * w.codes.size(1) && k % 32 == 0 && w.codes.size(0) % 16 == 0);
  TORCH_CHECK(x.codes.is_contiguous() && w.codes.is_contiguous() && x.decode.numel() == 1);
  for (const auto* o : {&x, &w})
    TORCH_CHECK(o->scales.numel() == (o->codes.size(0) + 127) / 128 * 128 * ((k / 16 + 3) / 4 * 4));
  return at::mm(decoded(x, k), decoded(w, k).t()).to(dtype).to(x.codes.device());
}

}  // namespace tetrad::linear_test

#include "native_product.h"

#include <ATen/BlasBackend.h>
#include <ATen/ops/_scaled_mm_v2.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/empty.h>

namespace tetrad::backend_nvfp4 {
namespace {

std::int64_t up_to(std::int64_t value, std::int64_t step) {
  return (value + step - 1) / step * step;
}

}  // namespace

std::int64_t Fp4Operand::bytes() const {
  return static_cast<std::int64_t>(codes.nbytes() + scales.nbytes() + decode.nbytes());
}

Fp4Operand fp4_operand(const TensorCodec& codec, const at::Tensor& codes, const at::Tensor& scales,
                       const at::Tensor& decode, bool pad_rows) {
  Fp4Operand operand;
  operand.rows = codes.size(0);
  const std::int64_t width = codes.size(1), rows = pad_rows ? up_to(operand.rows, 16) : operand.rows;
  operand.codes = width % 16 == 0 && rows == operand.rows
                      ? codes
                      : at::constant_pad_nd(codes, {0, up_to(width, 16) - width, 0, rows - operand.rows}, 0);
  // The tiles' own padding covers what the codes were padded by.
  operand.scales = codec.swizzle(scales);
  operand.decode = decode;
  return operand;
}

Fp4Operand activation_operand(const TensorCodec& codec, const at::Tensor& x) {
  const PackedActivations packed = codec.packed_activations(x);
  return fp4_operand(codec, packed.codes, packed.scales, packed.decode, false);
}

at::Tensor fp4_product(const Fp4Operand& x, const Fp4Operand& w, at::ScalarType dtype) {
  using at::blas::ScalingType;
  using at::blas::SwizzleType;
  const std::array<std::int64_t, 2> recipe = {static_cast<std::int64_t>(ScalingType::BlockWise1x16),
                                              static_cast<std::int64_t>(ScalingType::TensorWise)};
  const std::array<std::int64_t, 2> swizzle = {static_cast<std::int64_t>(SwizzleType::SWIZZLE_32_4_4),
                                               static_cast<std::int64_t>(SwizzleType::NO_SWIZZLE)};
  const auto scales = [](const Fp4Operand& o) {
    return std::array<at::Tensor, 2>{o.scales.view(at::kFloat8_e4m3fn), o.decode};
  };
  const at::Tensor y = at::_scaled_mm_v2(
      x.codes.view(at::kFloat4_e2m1fn_x2), w.codes.view(at::kFloat4_e2m1fn_x2).t(), scales(x), recipe,
      swizzle, scales(w), recipe, swizzle, /*bias=*/{}, dtype, /*contraction_dim=*/{},
      /*use_fast_accum=*/false);
  return w.codes.size(0) == w.rows ? y : y.narrow(1, 0, w.rows).contiguous();
}

}  // namespace tetrad::backend_nvfp4

#include "aten_codec.h"

#include <ATen/ops/abs.h>
#include <ATen/ops/add.h>
#include <ATen/ops/amax.h>
#include <ATen/ops/aminmax.h>
#include <ATen/ops/bucketize.h>
#include <ATen/ops/clamp_max.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/copysign.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/max.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/reciprocal.h>
#include <ATen/ops/signbit.h>
#include <tetrad/nvfp4/e2m1.h>

#include <array>
#include <cmath>
#include <limits>

namespace tetrad::backend_nvfp4 {
namespace {

using nvfp4::kBlock;
using nvfp4::packed_cols;

constexpr float kMax = std::numeric_limits<float>::max();

at::Tensor table(const float* values, at::IntArrayRef sizes, at::Device device) {
  const at::Tensor host = at::empty(sizes, at::TensorOptions().dtype(at::kFloat));
  std::copy_n(values, host.numel(), static_cast<float*>(host.mutable_data_ptr()));
  return host.to(device);
}

}  // namespace

nvfp4::Amax aten_amax(const at::Tensor& w) {
  if (w.numel() == 0) return {};
  const auto [low, high] = at::aminmax(w);  // both NaN when an element is
  const float value = at::max(low.abs(), high.abs()).item().toFloat();
  if (!std::isfinite(value)) return {0.0F, 0};
  return {value, -1};
}

AtenCodec::AtenCodec(at::Device device) {
  // Ties go to the even code: a value on the border to an odd one belongs to the code below.
  const auto above = [](float x) { return std::nextafter(x, kMax); };
  const std::array<float, 7> bounds = {above(0.25F), 0.75F, above(1.25F), 1.75F,
                                       above(2.5F),  3.5F,  above(5.0F)};
  std::array<float, 8> magnitudes{};
  for (std::uint8_t code = 0; code < 8; ++code) magnitudes[code] = nvfp4::e2m1_decode(code);
  std::array<float, 512> pairs{};
  for (std::size_t byte = 0; byte < 256; ++byte) {
    pairs[2 * byte] = nvfp4::e2m1_decode(static_cast<std::uint8_t>(byte & 15U));
    pairs[2 * byte + 1] = nvfp4::e2m1_decode(static_cast<std::uint8_t>(byte >> 4U));
  }
  bounds_ = table(bounds.data(), {7}, device);
  magnitudes_ = table(magnitudes.data(), {8}, device);
  pairs_ = table(pairs.data(), {256, 2}, device);
}

AtenCodec::Blocks AtenCodec::encode(const at::Tensor& w, nvfp4::GlobalScale global) const {
  const std::int64_t rows = w.size(0), cols = w.size(1), padded = packed_cols(cols);
  at::Tensor x = w.to(at::kFloat);
  if (padded != cols) x = at::constant_pad_nd(x, {0, padded - cols}, 0);
  x = x.reshape({rows, padded / kBlock, kBlock});
  const float sixth = global.encode * (1.0F / 6.0F);
  Blocks blocks;
  blocks.scale = at::clamp_max(at::mul(at::amax(x.abs(), -1), sixth), 448).to(at::kFloat8_e4m3fn);
  const at::Tensor inverse = at::reciprocal(at::mul(blocks.scale.to(at::kFloat), global.decode));
  blocks.scaled = at::mul(x, at::clamp_max(inverse, kMax).unsqueeze(-1));
  blocks.magnitude = at::bucketize(blocks.scaled.abs(), bounds_, /*out_int32=*/true, /*right=*/true);
  return blocks;
}

void AtenCodec::quantize(const at::Tensor& w, nvfp4::GlobalScale global, const at::Tensor& codes,
                         const at::Tensor& scales) const {
  const Blocks blocks = encode(w, global);
  const std::int64_t rows = w.size(0), padded = packed_cols(w.size(1));
  const at::Tensor sign = at::mul(at::signbit(blocks.scaled).to(at::kByte), 8);
  const at::Tensor nibbles = at::add(blocks.magnitude.to(at::kByte), sign).reshape({rows, padded / 2, 2});
  codes.copy_(at::add(nibbles.select(-1, 0), nibbles.select(-1, 1), 16));
  scales.copy_(blocks.scale.view(at::kByte));
}

void AtenCodec::dequantize(const PlaneTensors& planes, float scale, const at::Tensor& out) const {
  const std::int64_t rows = out.size(0), cols = out.size(1), padded = packed_cols(cols);
  if (out.numel() == 0) return;
  // One plane in the output's dtype already: codes, block scales and their products are exact in all three.
  const auto dtype = planes.lo.defined() ? at::kFloat : out.scalar_type();
  const at::Tensor elements = pairs_.to(dtype);
  at::Tensor values = at::index_select(elements, 0, planes.codes.reshape({-1}).to(at::kInt));
  if (planes.lo.defined())
    values.add_(at::index_select(elements, 0, planes.lo.reshape({-1}).to(at::kInt)), 0.25);
  if (planes.lo2.defined())
    values.add_(at::index_select(elements, 0, planes.lo2.reshape({-1}).to(at::kInt)), 0.0625);
  values = values.view({rows, padded / kBlock, kBlock})
               .mul_(planes.scales.view(at::kFloat8_e4m3fn).to(dtype).unsqueeze(-1));
  if (scale != 1.0F) values.mul_(scale);
  out.copy_(values.view({rows, padded}).narrow(1, 0, cols));
}

void AtenCodec::requantize(const at::Tensor& w, nvfp4::GlobalScale global, float scale,
                           const at::Tensor& out) const {
  const std::int64_t rows = w.size(0), cols = w.size(1), padded = packed_cols(cols);
  if (out.numel() == 0) return;
  const Blocks blocks = encode(w, global);
  at::Tensor values = at::index_select(magnitudes_, 0, blocks.magnitude.view({-1})).view_as(blocks.scaled);
  values = at::copysign(values, blocks.scaled).mul_(blocks.scale.to(at::kFloat).unsqueeze(-1));
  if (scale != 1.0F) values.mul_(scale);
  out.copy_(values.view({rows, padded}).narrow(1, 0, cols));
}

}  // namespace tetrad::backend_nvfp4

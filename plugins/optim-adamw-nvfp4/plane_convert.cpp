#include <ATen/Parallel.h>
#include <ATen/ops/amax.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>
#include <tetrad/nvfp4/plane_codec.h>

#include <algorithm>

#include "optim/optimizer_base.h"
#include "optim/weight_values.h"
#include "plane_state.h"

#ifndef _OPENMP
#error "at::parallel_for without -fopenmp runs on one thread, silently"
#endif

namespace tetrad::optim_adamw_nvfp4 {
namespace {

Format format_of(int planes) {
  return planes == 1 ? Format::nvfp4_hi : (planes == 2 ? Format::nvfp4_hi_lo : Format::nvfp4_hi_lo_lo2);
}

template <class T>
void quantize_rows(const at::Tensor& x, nvfp4::GlobalScale global, const Planes& to) {
  const std::int64_t rows = x.size(0), cols = x.size(1), padded = nvfp4::packed_cols(cols);
  const T* from = static_cast<const T*>(x.const_data_ptr());
  const auto bytes = [](const at::Tensor& t) {
    return t.defined() ? t.mutable_data_ptr<std::uint8_t>() : nullptr;
  };
  const nvfp4::PlanesOut all = {bytes(to.codes), bytes(to.scales), bytes(to.lo_codes), bytes(to.lo2_codes)};
  const std::int64_t grain = std::max<std::int64_t>(1, 32768 / cols);
  at::parallel_for(0, rows, grain, [&](std::int64_t begin, std::int64_t end) {
    const auto from_row = [&](std::uint8_t* p, std::int64_t bytes_per_row) {
      return p == nullptr ? nullptr : p + begin * bytes_per_row;
    };
    const nvfp4::PlanesOut part = {from_row(all.codes, padded / 2), from_row(all.scales, padded / 16),
                                   from_row(all.lo, padded / 2), from_row(all.lo2, padded / 2)};
    nvfp4::quantize_planes(from + begin * cols, end - begin, cols, cols, global, {}, part);
  });
}

Planes encode(const at::Tensor& dense, optim::Extent extent, int planes) {
  const at::Tensor x = dense.reshape({extent.rows, extent.cols}).to(at::kCPU);
  const float amax = x.abs().amax().to(at::kFloat).item<float>();
  const nvfp4::GlobalScale global = nvfp4::power_of_two_scale(2.0F * amax);
  const std::int64_t padded = nvfp4::packed_cols(extent.cols);
  const auto bytes = [&](std::int64_t cols) { return at::empty({extent.rows, cols}, at::kByte); };
  Planes to;
  to.codes = bytes(padded / 2);
  to.scales = bytes(padded / 16);
  if (planes > 1) to.lo_codes = bytes(padded / 2);
  if (planes > 2) to.lo2_codes = bytes(padded / 2);
  to.decode_scale = global.decode;
  if (x.scalar_type() == at::kFloat)
    quantize_rows<float>(x, global, to);
  else if (x.scalar_type() == at::kBFloat16)
    quantize_rows<nvfp4::Bf16>(x, global, to);
  else
    quantize_rows<nvfp4::Fp16>(x, global, to);
  const auto there = [&](at::Tensor& t) {
    if (t.defined()) t = t.to(dense.device());
  };
  there(to.codes);
  there(to.scales);
  there(to.lo_codes);
  there(to.lo2_codes);
  return to;
}

// Room for block scales to double, without changing a value.
void make_room(Planes& planes) {
  if (planes.scales.amax().item<int>() <= 0x76) return;
  // Halving is exact for normal scales above the smallest binade, and for 0.
  const at::Tensor inexact = planes.scales.lt(16).logical_and_(planes.scales.gt(0));
  if (inexact.any().item<bool>()) return;
  planes.scales = at::where(planes.scales.eq(0), planes.scales, planes.scales.sub(8));
  planes.decode_scale *= 2.0F;
}

}  // namespace

bool convert_to_planes(Parameter& parameter, int planes) {
  const int have = optim::plane_count(parameter.format);
  if (have == planes) return false;
  if (have > planes)
    optim::fail(StatusCode::unsupported, "'" + parameter.name + "' has " + std::to_string(have) +
                                             " planes, and planes: " + std::to_string(planes) +
                                             " would cut some off; set planes: " + std::to_string(have));
  Planes made;
  if (have == 0) {
    made = encode(parameter.dense, optim::extent_of(parameter.shape), planes);
  } else {
    made = parameter.planes;
    if (planes > 1 && have < 2) made.lo_codes = at::zeros_like(made.codes);
    if (planes > 2 && have < 3) made.lo2_codes = at::zeros_like(made.codes);
    make_room(made);
  }
  parameter.planes = made;
  parameter.dense = at::Tensor();
  parameter.format = format_of(planes);
  return true;
}

}  // namespace tetrad::optim_adamw_nvfp4

// Planes encoded anew: hi is then the encoder's own for the sum, which it was not before, and the sum is what
// it was but for the last plane's rounding.
#include "train/trainer/fresh_planes.h"

#include <ATen/Functions.h>
#include <gtest/gtest.h>
#include <tetrad/nvfp4/plane_codec.h>

#include <cmath>
#include <vector>

namespace tetrad::train {
namespace {

at::Tensor values(const Parameter& p, bool hi_alone) {
  const std::int64_t rows = p.planes.codes.size(0), cols = p.shape.back();
  const auto bytes = [](const at::Tensor& t) {
    return t.defined() ? t.const_data_ptr<std::uint8_t>() : nullptr;
  };
  at::Tensor out = at::empty({rows, cols}, at::kFloat);
  nvfp4::dequantize_planes(
      {bytes(p.planes.codes), bytes(p.planes.scales), hi_alone ? nullptr : bytes(p.planes.lo_codes),
       hi_alone ? nullptr : bytes(p.planes.lo2_codes)},
      p.planes.decode_scale, nvfp4::PlaneValue::exact, rows, cols, out.mutable_data_ptr<float>());
  return out;
}

Planes encoded(const at::Tensor& w, float decode, int planes) {
  const std::int64_t rows = w.size(0), cols = w.size(1), padded = nvfp4::packed_cols(cols);
  Planes p;
  p.decode_scale = decode;
  p.codes = at::zeros({rows, padded / 2}, at::kByte);
  p.scales = at::zeros({rows, padded / 16}, at::kByte);
  if (planes > 1) p.lo_codes = at::zeros({rows, padded / 2}, at::kByte);
  if (planes > 2) p.lo2_codes = at::zeros({rows, padded / 2}, at::kByte);
  const auto bytes = [](at::Tensor& t) { return t.defined() ? t.mutable_data_ptr<std::uint8_t>() : nullptr; };
  nvfp4::quantize_planes(w.const_data_ptr<float>(), rows, cols, cols, {1.0F / decode, decode}, {},
                         {bytes(p.codes), bytes(p.scales), bytes(p.lo_codes), bytes(p.lo2_codes)});
  return p;
}

// The planes of `w` under given block scales, every plane to nearest.
void requantise_under(Parameter& p, const at::Tensor& w, const at::Tensor& scales) {
  p.planes.scales.copy_(scales);
  std::vector<at::Tensor*> planes = {&p.planes.codes, &p.planes.lo_codes, &p.planes.lo2_codes};
  const std::int64_t rows = w.size(0), cols = w.size(1);
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < cols; ++c) {
      float unit = nvfp4::e4m3_decode(scales[r][c / 16].item<std::uint8_t>()) * p.planes.decode_scale;
      float rest = w[r][c].item<float>();
      for (at::Tensor* plane : planes) {
        if (!plane->defined()) continue;
        int best = 0;
        for (int code = 1; code < 16; ++code)
          if (std::abs(nvfp4::e2m1_decode(static_cast<std::uint8_t>(code)) * unit - rest) <
              std::abs(nvfp4::e2m1_decode(static_cast<std::uint8_t>(best)) * unit - rest))
            best = code;
        auto* byte = plane->mutable_data_ptr<std::uint8_t>() + r * plane->size(1) + c / 2;
        *byte = static_cast<std::uint8_t>(c % 2 == 0 ? (*byte & 0xF0) | best : (*byte & 0x0F) | best << 4);
        rest -= nvfp4::e2m1_decode(static_cast<std::uint8_t>(best)) * unit;
        unit /= 4;
      }
    }
  }
}

TEST(FreshPlanes, HiFitsTheSumAgainAndTheSumStays) {
  for (const int planes : {2, 3}) {
    for (const auto& shape : std::vector<std::vector<std::int64_t>>{{37, 50}, {5, 16}, {1, 33}}) {
      at::manual_seed(planes);
      Parameter p;
      p.name = "w";
      p.shape = shape;
      p.format = planes == 2 ? Format::nvfp4_hi_lo : Format::nvfp4_hi_lo_lo2;
      const float decode = 1.0F / 4096;
      // As sticky scales leave them: block scales of values four times as large, so that hi has half the
      // bits.
      const at::Tensor w = at::randn(shape, at::kFloat).mul_(0.05);
      p.planes = encoded(w, decode, planes);
      const Planes coarse = encoded(w.mul(4.0), decode, 1);
      requantise_under(p, w, coarse.scales);
      const at::Tensor before = values(p, false), hi_before = values(p, true);
      const void* const place = p.planes.codes.const_data_ptr();
      EXPECT_TRUE(encode_anew(p));
      EXPECT_EQ(p.planes.codes.const_data_ptr(), place) << "in its own storage";
      EXPECT_EQ(p.version, 1U);
      EXPECT_EQ(p.planes.decode_scale, decode) << "the global scale is the optimizer's";
      const Planes fresh = encoded(before, decode, 1);
      EXPECT_TRUE(at::equal(p.planes.codes, fresh.codes) && at::equal(p.planes.scales, fresh.scales));
      const at::Tensor after = values(p, false);
      const double scale = before.abs().max().item<double>();
      EXPECT_LT(after.sub(before).abs().max().item<double>(), (planes == 2 ? 0.05 : 0.013) * scale);
      EXPECT_LT(values(p, true).sub(before).norm().item<double>(),
                0.8 * hi_before.sub(before).norm().item<double>());
    }
  }
}

TEST(FreshPlanes, WhatHasNoLoPlaneStays) {
  Parameter p;
  p.shape = {4, 32};
  p.format = Format::nvfp4_hi;
  p.planes = encoded(at::randn({4, 32}), 1.0F / 512, 1);
  const at::Tensor codes = p.planes.codes.clone();
  EXPECT_FALSE(encode_anew(p));
  EXPECT_TRUE(at::equal(codes, p.planes.codes));
  EXPECT_EQ(p.version, 0U);
}

}  // namespace
}  // namespace tetrad::train

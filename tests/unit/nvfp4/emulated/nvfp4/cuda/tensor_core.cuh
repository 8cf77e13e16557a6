// tensor_core.cuh for emulated/device.h: mma.m16n8k16 written out from its documentation, sums in double.
#pragma once

#include <tetrad/nvfp4/half.h>

#include "emulated/device.h"

namespace tetrad::nvfp4::cuda {

template <class T>
void mma(float (&c)[4], std::uint32_t a0, std::uint32_t a1, std::uint32_t a2, std::uint32_t a3,
         std::uint32_t b0, std::uint32_t b1) {
  emulated::Block& block = emulated::block;
  const auto lane = static_cast<std::size_t>(emulated::Block::lane());
  emulated::Warp& warp = block.warp();
  const std::uint32_t a[4] = {a0, a1, a2, a3};
  std::copy_n(a, 4, warp.a[lane]);
  warp.b[lane][0] = b0;
  warp.b[lane][1] = b1;
  std::copy_n(c, 4, warp.c[lane]);
  block.meet([](emulated::Warp& w) {
    const auto half = [](std::uint32_t pair, int h) {
      T value;
      value.bits = static_cast<std::uint16_t>(pair >> (16 * h));
      return to_float(value);
    };
    float left[16][16], right[16][8];
    for (int l = 0; l < emulated::kWarp; ++l) {
      const int g = l / 4, t = l % 4;
      for (int h = 0; h < 2; ++h) {
        for (int i = 0; i < 4; ++i) left[g + 8 * (i % 2)][2 * t + h + 8 * (i / 2)] = half(w.a[l][i], h);
        for (int i = 0; i < 2; ++i) right[2 * t + h + 8 * i][g] = half(w.b[l][i], h);
      }
    }
    for (int l = 0; l < emulated::kWarp; ++l) {
      for (int i = 0; i < 4; ++i) {
        double sum = w.c[l][i];
        for (int k = 0; k < 16; ++k)
          sum += static_cast<double>(left[l / 4 + 8 * (i / 2)][k]) * right[k][2 * (l % 4) + i % 2];
        w.c[l][i] = static_cast<float>(sum);
      }
    }
  });
  std::copy_n(warp.c[lane], 4, c);
  block.meet([](emulated::Warp&) {});
}

}  // namespace tetrad::nvfp4::cuda

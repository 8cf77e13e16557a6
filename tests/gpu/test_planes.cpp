// Tied planes and their draws on the device against the CPU, byte for byte. Needs a device; without one every
// test says so and skips.
#include <gtest/gtest.h>
#include <tetrad/nvfp4/cuda/planes.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "gpu/device_array.h"
#include "support/gaussian.h"

namespace tetrad::nvfp4 {
namespace {

using test::gaussian;

using GpuPlanes = GpuTest;
using Bytes = std::vector<std::uint8_t>;

constexpr std::uint8_t kGuard = 0xC7;

// The planes of a tensor with guard bytes behind each.
struct HostPlanes {
  Bytes codes, scales, lo, lo2;
  HostPlanes(std::int64_t rows, std::int64_t cols, int count)
      : codes(static_cast<std::size_t>(rows * packed_cols(cols) / 2 + 32), kGuard),
        scales(static_cast<std::size_t>(rows * packed_cols(cols) / 16 + 32), kGuard),
        lo(count > 1 ? codes.size() : 0, kGuard),
        lo2(count > 2 ? codes.size() : 0, kGuard) {}
};

PlanesOut at(HostPlanes& h) {
  return {h.codes.data(), h.scales.data(), h.lo.empty() ? nullptr : h.lo.data(),
          h.lo2.empty() ? nullptr : h.lo2.data()};
}

PlanesView view(const PlanesOut& p) {
  return {p.codes, p.scales, p.lo, p.lo2};
}

struct DevicePlanes {
  explicit DevicePlanes(const HostPlanes& h) : codes(h.codes), scales(h.scales), lo(h.lo), lo2(h.lo2) {
    to = {codes.get(), scales.get(), h.lo.empty() ? nullptr : lo.get(), h.lo2.empty() ? nullptr : lo2.get()};
  }
  DeviceArray<std::uint8_t> codes, scales, lo, lo2;
  PlanesOut to;
};

template <class T>
void expect_same(const std::vector<T>& x, std::int64_t rows, std::int64_t cols, std::int64_t stride,
                 int count, const LastPlane& last, GlobalScale g) {
  const std::string where = std::to_string(rows) + " x " + std::to_string(cols) + ", planes " +
                            std::to_string(count) + (last.stochastic ? ", drawn" : "");
  HostPlanes host(rows, cols, count);
  DevicePlanes device(host), again(host);  // both still filled with guards
  const bool finite = quantize_planes(x.data(), rows, cols, stride, g, last, at(host)) < 0;
  DeviceArray<T> dx(x);
  DeviceArray<GlobalScale> dg(std::vector<GlobalScale>{g});
  DeviceArray<unsigned long long> word(1);
  cuda::quantize_planes(dx.get(), rows, cols, stride, g, last, device.to, {word.get(), 42}, nullptr);
  cuda::quantize_planes(dx.get(), rows, cols, stride, dg.get(), last, again.to, {}, nullptr);
  for (const DevicePlanes* d : {&device, &again}) {
    ASSERT_EQ(d->scales.host(), host.scales) << where;
    ASSERT_EQ(d->codes.host(), host.codes) << where;
    ASSERT_EQ(d->lo.host(), host.lo) << where;
    ASSERT_EQ(d->lo2.host(), host.lo2) << where;
  }
  ASSERT_EQ(word.host()[0], finite ? 0u : 42u) << where;

  const auto compare = [&](auto zero, float decode) {
    using Out = decltype(zero);
    const auto n = static_cast<std::size_t>(rows * cols);
    for (const PlaneValue value : {PlaneValue::exact, PlaneValue::folded}) {
      std::vector<Out> expected(n);
      reference::dequantize_planes(view(at(host)), decode, value, rows, cols, expected.data());
      DeviceArray<Out> out(n);
      cuda::dequantize_planes(view(device.to), decode, value, rows, cols, out.get(), nullptr);
      const std::vector<Out> got = out.host();
      ASSERT_EQ(0, std::memcmp(got.data(), expected.data(), n * sizeof(Out))) << where;
    }
  };
  compare(0.0f, g.decode);
  compare(0.0f, 0.0123f);
  compare(Bf16{}, g.decode);
  compare(Bf16{}, 1.0f);
  compare(Fp16{}, 1.0f);
}

TEST_F(GpuPlanes, MatchTheCpuOnOddShapes) {
  unsigned seed = 0;
  for (const bool stochastic : {false, true}) {
    for (const int count : {1, 2, 3}) {
      for (const std::int64_t rows : {1, 16, 35}) {
        for (const std::int64_t cols : {1, 16, 17, 500, 1024}) {
          const std::int64_t stride = cols + (rows % 2 != 0 ? 5 : 0);
          const LastPlane last{stochastic, {0x123456789ull, tensor_key("w"), ++seed}, rows};
          const GlobalScale g = power_of_two_scale(0.08f);
          expect_same(gaussian<float>(rows * stride, seed, 0.02f), rows, cols, stride, count, last, g);
          expect_same(gaussian<Bf16>(rows * stride, seed, 0.02f), rows, cols, stride, count, last, g);
          expect_same(gaussian<Fp16>(rows * stride, seed, 0.02f), rows, cols, stride, count, last, g);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

// Floats of every size, ties included, under scales from the smallest to the greatest.
TEST_F(GpuPlanes, MatchTheCpuOnWildValues) {
  std::mt19937 rng(11);
  std::vector<float> wild(64 * 512);
  for (std::size_t i = 0; i < wild.size(); ++i) {
    do {
      wild[i] = bits_float(static_cast<std::uint32_t>(rng()));
    } while (!std::isfinite(wild[i]));
    if (i % 3 == 0)
      wild[i] = std::ldexp(static_cast<float>(rng() % 97) / 8.0f, static_cast<int>(i / 16 % 19) - 9);
  }
  for (const bool stochastic : {false, true}) {
    for (const float amax : {1e-38f, 1e-4f, 700.0f, 3e38f}) {
      for (const int count : {1, 2, 3}) {
        expect_same(wild, 64, 512, 512, count, {stochastic, {7, 8, 9}, 0}, power_of_two_scale(amax));
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST_F(GpuPlanes, MarkAndReportNonFinite) {
  std::vector<float> x = gaussian<float>(40 * 72, 1, 1.0f);
  x[33 * 72 + 70] = std::numeric_limits<float>::quiet_NaN();
  x[5] = std::numeric_limits<float>::infinity();
  for (const bool stochastic : {false, true})
    expect_same(x, 40, 72, 72, 2, {stochastic, {}, 0}, power_of_two_scale(6.0f));
}

// Rows looked up in an embedding are the tensor's rows; an id that is none gives NaNs and reads nothing.
TEST_F(GpuPlanes, GatheredRowsAreTheTensorsRows) {
  std::mt19937 rng(13);
  const std::int64_t rows = 57;
  for (const std::int64_t cols : {1, 16, 33, 250, 512}) {
    for (const int count : {1, 2, 3}) {
      HostPlanes host(rows, cols, count);
      for (Bytes* bytes : {&host.codes, &host.scales, &host.lo, &host.lo2}) {
        for (std::uint8_t& b : *bytes)
          b = static_cast<std::uint8_t>(rng() % (bytes == &host.scales ? 127 : 256));
      }
      DevicePlanes device(host);
      const std::vector<std::int64_t> ids = {56, 0, 9, 9, 31, -1, 57, 30};
      DeviceArray<std::int64_t> on_device(ids);
      const auto n = static_cast<std::int64_t>(ids.size());
      const auto compare = [&](auto zero) {
        using Out = decltype(zero);
        for (const PlaneValue value : {PlaneValue::exact, PlaneValue::folded}) {
          std::vector<Out> whole(static_cast<std::size_t>(rows * cols));
          reference::dequantize_planes(view(at(host)), 0.25f, value, rows, cols, whole.data());
          DeviceArray<Out> out(static_cast<std::size_t>(n * cols));
          cuda::gather_planes(view(device.to), 0.25f, value, rows, cols, on_device.get(), n, out.get(),
                              nullptr);
          const std::vector<Out> got = out.host();
          for (std::int64_t i = 0; i < n; ++i) {
            const std::int64_t id = ids[static_cast<std::size_t>(i)];
            if (id < 0 || id >= rows) {
              for (std::int64_t c = 0; c < cols; ++c)
                ASSERT_TRUE(std::isnan(to_float(got[static_cast<std::size_t>(i * cols + c)])));
            } else {
              ASSERT_EQ(0, std::memcmp(got.data() + i * cols, whole.data() + id * cols,
                                       static_cast<std::size_t>(cols) * sizeof(Out)))
                  << "row " << id << " of " << cols << " columns, planes " << count;
            }
          }
        }
      };
      compare(0.0f);
      compare(Bf16{});
      compare(Fp16{});
    }
  }
}

// Every byte pattern that a file could hold decodes as on the CPU.
TEST_F(GpuPlanes, AnyBytesDecodeAlike) {
  std::mt19937 rng(12);
  const std::int64_t rows = 33, cols = 250;
  for (const int count : {1, 2, 3}) {
    HostPlanes host(rows, cols, count);
    for (Bytes* bytes : {&host.codes, &host.scales, &host.lo, &host.lo2}) {
      for (std::uint8_t& b : *bytes) b = static_cast<std::uint8_t>(rng());
    }
    DevicePlanes device(host);
    std::vector<Bf16> expected(static_cast<std::size_t>(rows * cols));
    reference::dequantize_planes(view(at(host)), 0x1p-9f, PlaneValue::folded, rows, cols, expected.data());
    DeviceArray<Bf16> out(expected.size());
    cuda::dequantize_planes(view(device.to), 0x1p-9f, PlaneValue::folded, rows, cols, out.get(), nullptr);
    const std::vector<Bf16> got = out.host();
    ASSERT_EQ(0, std::memcmp(got.data(), expected.data(), got.size() * sizeof(Bf16))) << count;
  }
}

}  // namespace
}  // namespace tetrad::nvfp4

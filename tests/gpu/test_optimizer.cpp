// The optimizers' CUDA kernels against their CPU loops, bit for bit, over several steps: every number of
// planes, every kind of gradient, odd shapes, non-finite gradients, a set stop word. Needs a device.
#include <gtest/gtest.h>
#include <tetrad/nvfp4/plane_codec.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include "cuda/plane_update_cuda.h"
#include "gpu/device_array.h"
#include "optim/cuda/dense_update.h"
#include "optim/dense_cpu.h"
#include "plane_cpu.h"

namespace tetrad {
namespace {

using GpuOptimizer = GpuTest;
using optim::DenseArgs;
using optim_adamw_nvfp4::GradientKind;
using optim_adamw_nvfp4::PlaneArgs;
using optim_adamw_nvfp4::Range;
using Bytes = std::vector<std::uint8_t>;

template <class T>
bool same_bytes(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

struct Shape {
  std::int64_t rows, cols;
  std::size_t codes() const { return static_cast<std::size_t>(rows * nvfp4::packed_cols(cols) / 2); }
  std::size_t scales() const { return static_cast<std::size_t>(rows * nvfp4::packed_cols(cols) / 16); }
};

std::vector<float> normals(std::size_t n, float scale, std::mt19937& random) {
  std::normal_distribution<float> normal;
  std::vector<float> x(n);
  for (float& value : x) value = normal(random) * scale;
  return x;
}

template <class Pointer>
void point(PlaneArgs& a, int planes, Pointer&& pointer) {
  a.w[0] = pointer(0);
  a.w[1] = planes > 1 ? pointer(1) : nullptr;
  a.w[2] = planes > 2 ? pointer(2) : nullptr;
  a.w_scales = pointer(3);
  a.m = pointer(4);
  a.m_scales = pointer(5);
  a.r = pointer(6);
  a.r_scales = pointer(7);
}

void expect_same_updates(Shape shape, int planes, GradientKind kind, bool bad) {
  std::mt19937 random(static_cast<unsigned>(shape.rows * 131 + shape.cols + planes));
  const auto n = static_cast<std::size_t>(shape.rows * shape.cols);
  const std::vector<float> w = normals(n, 0.03F, random);
  const auto global = nvfp4::power_of_two_scale(0.4F);
  std::vector<Bytes> host(8);
  for (const int i : {0, 1, 2, 4, 6}) host[static_cast<std::size_t>(i)].resize(shape.codes());
  for (const int i : {3, 5, 7}) host[static_cast<std::size_t>(i)].resize(shape.scales());
  nvfp4::quantize_planes(w.data(), shape.rows, shape.cols, shape.cols, global, {},
                         {host[0].data(), host[3].data(), planes > 1 ? host[1].data() : nullptr,
                          planes > 2 ? host[2].data() : nullptr});
  std::vector<std::unique_ptr<DeviceArray<std::uint8_t>>> device;
  for (const Bytes& bytes : host) device.push_back(std::make_unique<DeviceArray<std::uint8_t>>(bytes));
  std::vector<Range> ranges(3, Range{1, 1, 0, 0});
  DeviceArray<Range> device_ranges(ranges);
  std::vector<std::int32_t> stop = {0};
  DeviceArray<std::int32_t> device_stop(stop);
  const std::vector<float> scale = {0.37F};
  DeviceArray<float> device_scale(scale);

  PlaneArgs cpu;
  cpu.rows = shape.rows;
  cpu.cols = shape.cols;
  cpu.w_scale = global.decode;
  cpu.kind = kind;
  cpu.mark = 5;
  cpu.draws = {99, 7, 0};
  PlaneArgs gpu = cpu;
  point(cpu, planes, [&](int i) { return host[static_cast<std::size_t>(i)].data(); });
  point(gpu, planes, [&](int i) { return device[static_cast<std::size_t>(i)]->get(); });
  cpu.scale = scale.data();
  gpu.scale = device_scale.get();
  cpu.stop = stop.data();
  gpu.stop = device_stop.get();

  for (std::uint32_t step = 1; step <= 6; ++step) {
    std::vector<float> g = normals(n, step == 4 ? 30.0F : 0.1F * static_cast<float>(step), random);
    if (bad && step == 3) g[n / 2] = std::numeric_limits<float>::quiet_NaN();
    std::vector<nvfp4::Bf16> g16(n);
    for (std::size_t i = 0; i < n; ++i) g16[i] = nvfp4::to_bf16(g[i]);
    Bytes codes(shape.codes()), scales(shape.scales());
    const auto g_global =
        nvfp4::power_of_two_scale(nvfp4::amax(g.data(), shape.rows, shape.cols, shape.cols).value);
    nvfp4::quantize(g.data(), shape.rows, shape.cols, shape.cols, g_global, {}, codes.data(), scales.data());
    std::uint32_t amax = 0;
    for (std::size_t i = 0; i < n; ++i) {
      const std::uint32_t bits = nvfp4::abs_bits(kind == GradientKind::bf16 ? nvfp4::to_float(g16[i]) : g[i]);
      if (nvfp4::is_finite_bits(bits)) amax = std::max(amax, bits);
    }
    DeviceArray<float> dg(g);
    DeviceArray<nvfp4::Bf16> dg16(g16);
    DeviceArray<std::uint8_t> dcodes(codes), dscales(scales);
    DeviceArray<std::uint32_t> damax(std::vector<std::uint32_t>{amax});
    DeviceArray<float> dglobal(std::vector<float>{g_global.decode});
    cpu.g_amax = &amax;
    gpu.g_amax = damax.get();
    cpu.g_scales = scales.data();
    gpu.g_scales = dscales.get();
    cpu.g_scale = g_global.decode;
    gpu.g_scale_at = dglobal.get();
    switch (kind) {
      case GradientKind::planes:
        cpu.g = codes.data();
        gpu.g = dcodes.get();
        break;
      case GradientKind::fp32:
        cpu.g = g.data();
        gpu.g = dg.get();
        break;
      case GradientKind::bf16:
        cpu.g = g16.data();
        gpu.g = dg16.get();
        break;
    }
    cpu.f = gpu.f = optim::adam_factors({}, step == 5 ? 0.5 : 0.01, 0.1, step);
    cpu.draws.step = gpu.draws.step = step;
    cpu.range = &ranges[(step - 1) % 3];
    cpu.next_range = &ranges[step % 3];
    cpu.clear_range = &ranges[(step + 1) % 3];
    gpu.range = device_ranges.get() + (step - 1) % 3;
    gpu.next_range = device_ranges.get() + step % 3;
    gpu.clear_range = device_ranges.get() + (step + 1) % 3;
    optim_adamw_nvfp4::plane_update_cpu(cpu, planes);
    optim_adamw_nvfp4::cuda::plane_update(gpu, planes, nullptr);
    ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    ASSERT_EQ(device_stop.host()[0], stop[0]) << "step " << step;
    ASSERT_EQ(stop[0], bad && step >= 3 ? 5 : 0) << "step " << step;
    for (std::size_t i = 0; i < host.size(); ++i)
      ASSERT_TRUE(same_bytes(device[i]->host(), host[i]))
          << "buffer " << i << ", step " << step << ", " << shape.rows << " x " << shape.cols << ", planes "
          << planes;
    ASSERT_TRUE(same_bytes(device_ranges.host(), ranges)) << "step " << step;
  }
}

TEST_F(GpuOptimizer, PlanesEqualTheCpu) {
  for (const Shape shape : {Shape{1, 1}, {1, 16}, {3, 40}, {17, 33}, {64, 512}, {129, 1040}}) {
    for (int planes = 1; planes <= 3; ++planes) {
      for (const GradientKind kind : {GradientKind::planes, GradientKind::fp32, GradientKind::bf16})
        expect_same_updates(shape, planes, kind, false);
    }
  }
}

TEST_F(GpuOptimizer, PlanesStopAtANonFiniteGradient) {
  for (const GradientKind kind : {GradientKind::planes, GradientKind::fp32, GradientKind::bf16})
    expect_same_updates({33, 72}, 2, kind, true);
}

template <class W>
void expect_same_dense(Shape shape, bool master, optim::DenseRounding rounding, DenseArgs::Type type) {
  std::mt19937 random(5);
  const auto n = static_cast<std::size_t>(shape.rows * shape.cols);
  const std::vector<float> start = normals(n, 0.5F, random);
  std::vector<W> w(n);
  for (std::size_t i = 0; i < n; ++i) w[i] = nvfp4::from_float<W>(start[i]);
  std::vector<float> copy = start, m(n), v(n);
  DeviceArray<W> dw(w);
  DeviceArray<float> dcopy(copy), dm(m), dv(v);
  std::vector<std::int32_t> stop = {0};
  DeviceArray<std::int32_t> dstop(stop);
  for (std::uint32_t step = 1; step <= 4; ++step) {
    std::vector<float> g = normals(n, 1.0F, random);
    if (step == 3) g[n - 1] = std::numeric_limits<float>::infinity();
    DeviceArray<float> dg(g);
    DenseArgs cpu;
    cpu.w = w.data();
    cpu.w_type = type;
    cpu.master = master ? copy.data() : nullptr;
    cpu.m = m.data();
    cpu.v = v.data();
    cpu.g = g.data();
    cpu.rounding = rounding;
    cpu.rows = shape.rows;
    cpu.cols = shape.cols;
    cpu.stop = stop.data();
    cpu.mark = 3;
    cpu.f = optim::adam_factors({}, 1e-3, 0.1, step);
    cpu.draws = {1, 2, step};
    DenseArgs gpu = cpu;
    gpu.w = dw.get();
    gpu.master = master ? dcopy.get() : nullptr;
    gpu.m = dm.get();
    gpu.v = dv.get();
    gpu.g = dg.get();
    gpu.stop = dstop.get();
    optim::dense_update_cpu(cpu);
    optim::cuda::dense_update(gpu, nullptr);
    ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    ASSERT_EQ(dstop.host()[0], stop[0]);
    ASSERT_EQ(stop[0], step >= 3 ? 3 : 0);
    ASSERT_TRUE(same_bytes(dw.host(), w)) << "step " << step;
    ASSERT_TRUE(same_bytes(dm.host(), m)) << "step " << step;
    ASSERT_TRUE(same_bytes(dv.host(), v)) << "step " << step;
    ASSERT_TRUE(same_bytes(dcopy.host(), copy)) << "step " << step;
  }
}

TEST_F(GpuOptimizer, DenseEqualsTheCpu) {
  using optim::DenseRounding;
  for (const Shape shape : {Shape{1, 1}, {1, 576}, {7, 35}, {300, 200}}) {
    expect_same_dense<float>(shape, false, DenseRounding::nearest, DenseArgs::Type::fp32);
    expect_same_dense<nvfp4::Bf16>(shape, true, DenseRounding::nearest, DenseArgs::Type::bf16);
    expect_same_dense<nvfp4::Bf16>(shape, false, DenseRounding::nearest, DenseArgs::Type::bf16);
    expect_same_dense<nvfp4::Bf16>(shape, false, DenseRounding::stochastic, DenseArgs::Type::bf16);
    expect_same_dense<nvfp4::Fp16>(shape, true, DenseRounding::nearest, DenseArgs::Type::fp16);
  }
}

}  // namespace
}  // namespace tetrad

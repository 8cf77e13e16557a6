// W4A4 of backend-nvfp4 on a device: the operands of the FP4 product byte for byte against the CPU's, the
// emulation against the formula on those operands, and the FP4 tensor core's own product where there is one;
// elsewhere its refusal.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "backend_nvfp4.h"
#include "device/choose.h"
#include "gpu/device_array.h"
#include "plugin/linear/linear_check.h"
#include "plugin/linear/w4a4.h"

namespace tetrad {
namespace {

using namespace linear_test;
using backend_nvfp4::BackendNvfp4;
using backend_nvfp4::Fp4Operand;
using backend_nvfp4::TensorCodec;

class GpuW4A4 : public GpuTest {
 protected:
  void SetUp() override {
    GpuTest::SetUp();
    if (IsSkipped()) return;
    device_ = device::choose("cuda").device;
    at::manual_seed(21);
  }
  LinearSetup setup(at::ScalarType dtype, Path path) const {
    LinearSetup s;
    s.device = device_;
    s.dtype = dtype;
    s.path = path;
    return s;
  }
  at::Device device_ = at::kCPU;
};

struct Shape {
  std::int64_t t, k, n;
};
const Shape kShapes[] = {{1, 64, 32},   {7, 33, 5},     {130, 80, 145}, {16, 2560, 48},
                         {17, 512, 96}, {300, 208, 64}, {0, 16, 4}};

bool same(const Fp4Operand& a, const Fp4Operand& b) {
  return at::equal(a.codes.cpu(), b.codes.cpu()) && at::equal(a.scales.cpu(), b.scales.cpu()) &&
         at::equal(a.decode.cpu(), b.decode.cpu());
}

TEST_F(GpuW4A4, OperandsAreTheCpusByteForByte) {
  const TensorCodec cpu({}, false, at::kCPU), gpu({}, false, device_);
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    for (const Shape& s : kShapes) {
      const at::Tensor x = (at::randn({s.t, s.k}) * 3).to(dtype), there = x.to(device_);
      EXPECT_TRUE(same(activation_operand(gpu, there), activation_operand(cpu, x))) << s.t << " x " << s.k;
      EXPECT_TRUE(at::equal(gpu.activations(there).cpu(), cpu.activations(x))) << s.t << " x " << s.k;
      at::Tensor bad = x.clone();
      if (s.t == 0) continue;
      bad[s.t / 2][s.k - 1] = std::numeric_limits<float>::infinity();
      EXPECT_TRUE(same(activation_operand(gpu, bad.to(device_)), activation_operand(cpu, bad)));
      EXPECT_TRUE(
          at::equal(at::isnan(gpu.activations(bad.to(device_)).cpu()), at::isnan(cpu.activations(bad))));
    }
  }
}

// The device's native operands, multiplied by the formula, are the device's emulation up to the order of
// sums.
TEST_F(GpuW4A4, TheEmulationIsTheFormulaOnTheOperands) {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    for (const auto path : {Path::training, Path::bridge}) {
      for (const Shape& s : kShapes) {
        BackendNvfp4 native(w4a4_options("native"), product_by_formula), emulated(w4a4_options("auto"));
        ok(native.configure(setup(dtype, path)));
        ok(emulated.configure(setup(dtype, path)));
        const at::Tensor w = random_weight(s.n, s.k, dtype).to(device_);
        Parameter p = parameter("w", w.clone()), q = parameter("w", w.clone());
        WeightId id = -1, other = -1;
        ok(native.prepare(p, id));
        ok(emulated.prepare(q, other));
        const at::Tensor x = at::randn({s.t, s.k}).to(dtype);
        const at::Tensor read = TensorCodec({}, false, at::kCPU).activations(x).to(at::kDouble);
        at::Tensor weight;
        ok(emulated.dequantized(other, weight));
        for (const Pass pass : {Pass::train, Pass::eval}) {
          std::vector<at::Tensor> y, expected;
          ok(native.forward({&id, 1}, x.to(device_), pass, y));
          ok(emulated.forward({&other, 1}, x.to(device_), pass, expected));
          expect_product(y[0].cpu(), read, weight.cpu().to(at::kDouble).t(), "native by formula");
          expect_product(expected[0].cpu(), read, weight.cpu().to(at::kDouble).t(), "emulated");
        }
      }
    }
  }
}

TEST_F(GpuW4A4, NativeRunsOrIsRefusedWithTheCapability) {
  cudaDeviceProp device{};
  ASSERT_EQ(cudaGetDeviceProperties(&device, 0), cudaSuccess);
  const LinearSetup s = setup(at::kBFloat16, Path::bridge);
  BackendNvfp4 native(w4a4_options("native"));
  const Capability capability = native.capability(s);
  const std::string number = std::to_string(device.major) + "." + std::to_string(device.minor);
  if (device.major < 10) {
    EXPECT_EQ(capability.support, Support::unsupported);
    EXPECT_NE(capability.reason.find("compute capability " + number), std::string::npos) << capability.reason;
    EXPECT_FALSE(native.configure(s).ok());
    return;
  }
  EXPECT_EQ(capability.compute, "native-w4a4");
  ok(native.configure(s));
  for (const Shape& shape : kShapes) {
    Parameter p = parameter("w", random_weight(shape.n, shape.k, at::kBFloat16).to(device_));
    WeightId id = -1;
    ok(native.prepare(p, id));
    const at::Tensor x = at::randn({shape.t, shape.k}).to(at::kBFloat16);
    std::vector<at::Tensor> y;
    ok(native.forward({&id, 1}, x.to(device_), Pass::eval, y));
    at::Tensor weight;
    ok(native.dequantized(id, weight));
    expect_product(y[0].cpu(), TensorCodec({}, false, at::kCPU).activations(x).to(at::kDouble),
                   weight.cpu().to(at::kDouble).t(), "FP4 tensor cores");
  }
}

}  // namespace
}  // namespace tetrad

// backend-nvfp4 with activations in NVFP4: the emulation against fp64 on values that the codec's plain
// reference rounds, and everything around the FP4 tensor core's product (operands, padding, what is kept)
// with the formula in its place.
#include <gtest/gtest.h>
#include <tetrad/nvfp4/reference.h>

#include <deque>
#include <limits>
#include <memory>

#include "backend_nvfp4.h"
#include "linear_check.h"
#include "w4a4.h"

namespace tetrad {
namespace {

using namespace linear_test;
using backend_nvfp4::BackendNvfp4;
using backend_nvfp4::Fp4Operand;
using backend_nvfp4::TensorCodec;

LinearSetup setup(at::ScalarType dtype, Path path = Path::training) {
  LinearSetup s;
  s.path = path;
  s.dtype = dtype;
  return s;
}

WeightId prepared(BackendNvfp4& b, Parameter& p) {
  WeightId id = -1;
  ok(b.prepare(p, id));
  return id;
}

at::Tensor forward(BackendNvfp4& b, WeightId id, const at::Tensor& x, Pass pass = Pass::eval) {
  std::vector<at::Tensor> y;
  ok(b.forward({&id, 1}, x, pass, y));
  return y.empty() ? at::Tensor() : y[0];
}

// x in fp64, rounded to NVFP4 by the plain reference under its own amax.
at::Tensor rounded(const at::Tensor& x) {
  const std::int64_t rows = x.size(0), cols = x.size(1), padded = nvfp4::packed_cols(cols);
  const at::Tensor wide = x.to(at::kFloat).contiguous();
  std::vector<std::uint8_t> codes(static_cast<std::size_t>(rows * padded / 2)),
      scales(static_cast<std::size_t>(rows * padded / 16));
  const auto* data = wide.const_data_ptr<float>();
  const auto global = nvfp4::global_scale(nvfp4::reference::amax(data, rows, cols, cols).value, {});
  nvfp4::reference::quantize(data, rows, cols, cols, global, {}, codes.data(), scales.data());
  at::Tensor out = at::empty({rows, cols}, at::kFloat);
  nvfp4::reference::dequantize(codes.data(), scales.data(), global.decode, rows, cols,
                               out.mutable_data_ptr<float>());
  return out.to(at::kDouble);
}

struct Shape {
  std::int64_t t, k, n;
};
const Shape kShapes[] = {{1, 64, 32}, {7, 33, 5}, {130, 80, 145}, {40, 48, 16}, {3, 17, 1}, {0, 16, 4}};

TEST(W4A4, ProductsReadRoundedActivations) {
  at::manual_seed(11);
  for (const char* compute : {"auto", "emulated", "reference"}) {
    for (const auto dtype : {at::kFloat, at::kBFloat16}) {
      for (const auto path : {Path::training, Path::bridge}) {
        for (const Shape& s : kShapes) {
          BackendNvfp4 b(w4a4_options(compute));
          ok(b.configure(setup(dtype, path)));
          Parameter p = parameter("w", random_weight(s.n, s.k, dtype));
          const WeightId id = prepared(b, p);
          at::Tensor w;
          ok(b.dequantized(id, w));
          const at::Tensor x = at::randn({s.t, s.k}).to(dtype), dy = at::randn({s.t, s.n}).to(dtype);
          const at::Tensor read = rounded(x), weight = w.to(at::kDouble);
          expect_product(forward(b, id, x), read, weight.t(), "forward");
          if (path == Path::bridge) continue;
          expect_product(forward(b, id, x, Pass::train), read, weight.t(), "forward of training");
          at::Tensor dx, dw;
          ok(b.grad_input(id, dy, dx));
          expect_product(dx, dy.to(at::kDouble), weight, "grad_input");
          ok(b.grad_weight(id, dy, x, dw));
          expect_product(dw, dy.to(at::kDouble).t(), read, "grad_weight");
        }
      }
    }
  }
}

TEST(W4A4, WeightsThatStayDenseReadActivationsAsTheyAre) {
  at::manual_seed(12);
  BackendNvfp4 b(w4a4_options("auto"));
  ok(b.configure(setup(at::kFloat)));
  Parameter dense = parameter("dense", random_weight(24, 64, at::kFloat)),
            packed = parameter("packed", random_weight(24, 64, at::kFloat));
  dense.keep_dense = true;
  const WeightId ids[] = {prepared(b, dense), prepared(b, packed)};
  const at::Tensor x = at::randn({5, 64});
  std::vector<at::Tensor> y;
  ok(b.forward(ids, x, Pass::eval, y));
  at::Tensor w;
  ok(b.dequantized(ids[1], w));
  expect_product(y[0], x.to(at::kDouble), dense.dense.to(at::kDouble).t(), "dense");
  expect_product(y[1], rounded(x), w.to(at::kDouble).t(), "packed");
  at::Tensor dw;
  ok(b.grad_weight(ids[0], y[0], x, dw));
  expect_product(dw, y[0].to(at::kDouble).t(), x.to(at::kDouble), "grad_weight of the dense one");
}

TEST(W4A4, WhatIsNotFiniteIsNotHidden) {
  at::manual_seed(13);
  BackendNvfp4 b(w4a4_options("auto"));
  ok(b.configure(setup(at::kBFloat16)));
  Parameter p = parameter("w", random_weight(16, 64, at::kBFloat16));
  const WeightId id = prepared(b, p);
  at::Tensor x = at::randn({6, 64}).to(at::kBFloat16);
  x[2][40] = std::numeric_limits<float>::infinity();
  x[4][1] = std::numeric_limits<float>::quiet_NaN();
  const at::Tensor finite = at::isfinite(forward(b, id, x)).all(1);
  for (std::int64_t r = 0; r < 6; ++r) EXPECT_EQ(finite[r].item<bool>(), r != 2 && r != 4) << r;
}

TEST(W4A4, OperandsHoldTheValuesThatTheEmulationReads) {
  at::manual_seed(14);
  const TensorCodec codec({}, false, at::kCPU);
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    for (const Shape& s : kShapes) {
      const at::Tensor x = at::randn({s.t, s.k}).to(dtype);
      const Fp4Operand operand = backend_nvfp4::activation_operand(codec, x);
      EXPECT_EQ(operand.codes.size(1) % 16, 0);
      EXPECT_TRUE(at::equal(decoded(operand, s.k), rounded(x)));
      EXPECT_TRUE(at::equal(codec.activations(x).to(at::kDouble), rounded(x)));
      // Read by columns, as when a caller hands over a transpose.
      const at::Tensor other = x.t().contiguous().t();
      EXPECT_TRUE(at::equal(decoded(backend_nvfp4::activation_operand(codec, other), s.k), rounded(x)));
    }
  }
}

TEST(W4A4, TheNativePathIsTheEmulationUpToTheOrderOfSums) {
  at::manual_seed(15);
  for (const char* global : {"power_of_two", "exact"}) {
    for (const auto dtype : {at::kFloat, at::kBFloat16}) {
      for (const auto path : {Path::training, Path::bridge}) {
        for (const Shape& s : kShapes) {
          BackendNvfp4 native(w4a4_options("native", "nvfp4", global), product_by_formula);
          BackendNvfp4 emulated(w4a4_options("emulated", "nvfp4", global));
          ok(native.configure(setup(dtype, path)));
          ok(emulated.configure(setup(dtype, path)));
          std::deque<Parameter> parameters;
          std::vector<WeightId> ids, same;
          for (const std::int64_t n : {s.n, s.n + 3}) {
            const at::Tensor w = random_weight(n, s.k, dtype);
            for (const bool first : {true, false}) {
              parameters.push_back(parameter("w" + std::to_string(n), w.clone()));
              (first ? ids : same).push_back(prepared(first ? native : emulated, parameters.back()));
            }
          }
          const at::Tensor x = at::randn({s.t, s.k}).to(dtype);
          for (const Pass pass : {Pass::train, Pass::eval, Pass::eval}) {
            std::vector<at::Tensor> y, expected;
            ok(native.forward(ids, x, pass, y));
            ok(emulated.forward(same, x, pass, expected));
            for (std::size_t i = 0; i < ids.size(); ++i) {
              at::Tensor w;
              ok(emulated.dequantized(same[i], w));
              ASSERT_EQ(y[i].sizes(), expected[i].sizes());
              ASSERT_EQ(y[i].scalar_type(), dtype);
              EXPECT_TRUE(y[i].is_contiguous());
              if (std::string(global) == "exact" && dtype == at::kBFloat16) {
                // The emulation multiplies its sums by the scale, dequantized() rounds the values.
                EXPECT_TRUE(at::allclose(y[i], expected[i], 0.02, 0.02));
                continue;
              }
              expect_product(y[i], rounded(x), w.to(at::kDouble).t(), "native");
              expect_product(expected[i], rounded(x), w.to(at::kDouble).t(), "emulated");
            }
          }
        }
      }
    }
  }
}

TEST(W4A4, OperandsOfTheNativePathAreKeptAsTheEvalCacheIs) {
  at::manual_seed(16);
  BackendNvfp4 b(w4a4_options("native"), product_by_formula);
  ok(b.configure(setup(at::kFloat)));
  Parameter p = parameter("w", random_weight(20, 48, at::kFloat));
  const WeightId id = prepared(b, p);
  const at::Tensor x = at::randn({4, 48});
  forward(b, id, x, Pass::train);
  EXPECT_EQ(b.memory().eval_cache_bytes, 0);
  const auto epoch = b.weight_epoch();
  const at::Tensor before = forward(b, id, x);
  EXPECT_GT(b.weight_epoch(), epoch);
  EXPECT_EQ(b.memory().eval_cache_bytes, 32 * 32 + 512 + 4);
  p.dense.mul_(2);
  ++p.version;
  EXPECT_TRUE(at::allclose(forward(b, id, x), before * 2, 1e-5, 1e-5));
  EXPECT_EQ(b.clear_eval_cache(), 32 * 32 + 512 + 4);
  EXPECT_EQ(b.memory().eval_cache_bytes, 0);
  EXPECT_TRUE(at::allclose(forward(b, id, x), before * 2, 1e-5, 1e-5));
}

TEST(W4A4, RefusalsSayWhy) {
  const auto refusal = [](const Options& options, const LinearSetup& s) {
    const Capability c = BackendNvfp4(options).capability(s);
    EXPECT_EQ(c.support, Support::unsupported);
    return c.reason;
  };
  const auto holds = [](const std::string& text, const char* part) {
    EXPECT_NE(text.find(part), std::string::npos) << text;
  };
  holds(refusal(w4a4_options("native"), setup(at::kBFloat16)), "this is a CPU");
  holds(refusal(w4a4_options("native", "dense"), setup(at::kBFloat16)), "this is a CPU");
  holds(
      BackendNvfp4(w4a4_options("native", "dense"), product_by_formula).capability(setup(at::kFloat)).reason,
      "set activations: nvfp4");
  holds(refusal(w4a4_options("auto"), setup(at::kHalf)), "float16");
  EXPECT_EQ(BackendNvfp4(w4a4_options("auto")).capability(setup(at::kFloat)).compute, "emulated-w4a4");
  EXPECT_EQ(BackendNvfp4(w4a4_options("auto", "dense")).capability(setup(at::kFloat)).compute,
            "emulated-w4a16");

  Parameter p = parameter("w", random_weight(16, 32, at::kFloat));
  p.format = Format::nvfp4_hi_lo;
  p.planes.codes = p.planes.lo_codes = at::zeros({16, 16}, at::kByte);
  p.planes.scales = at::full({16, 2}, 0x38, at::kByte);
  for (const char* forward : {"hi+lo", "hi"}) {
    BackendNvfp4 b(w4a4_options("native", "nvfp4", "power_of_two", forward), product_by_formula);
    ok(b.configure(setup(at::kFloat)));
    WeightId id = -1;
    const Status status = b.prepare(p, id);
    EXPECT_EQ(status.ok(), std::string(forward) == "hi");
    if (!status.ok()) holds(status.message, "residual planes");
  }
}

}  // namespace
}  // namespace tetrad

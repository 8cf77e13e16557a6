// The engine on a CUDA device with the real backend and KV policy, on a tiny random model: against the same
// on the CPU, and the captured decode graph against the plain pass, bit for bit.
#include <ATen/ops/argmax.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "device/choose.h"
#include "gpu/device_array.h"
#include "model/decode_graph.h"
#include "support/nvfp4_rig.h"

namespace tetrad {
namespace {

using test::RigChoice;
using Rig = test::Nvfp4Rig;

RigChoice choice(at::ScalarType dtype, Path path) {
  RigChoice c;
  c.dtype = dtype;
  c.path = path;
  return c;
}

// Logits of every token of `ids` that is fed alone, on the CPU; the first `prefill` go in together.
std::vector<at::Tensor> run(Rig& rig, const std::vector<std::int32_t>& ids, std::size_t prefill) {
  std::vector<at::Tensor> out;
  out.push_back(rig.context->feed(std::span(ids).subspan(0, prefill)).cpu());
  for (std::size_t i = prefill; i < ids.size(); ++i) {
    out.push_back(rig.context->feed(std::span(ids).subspan(i, 1)).cpu().clone());
    if (rig.setup.device.is_cuda()) {
      EXPECT_TRUE(rig.context->best().has_value());
      EXPECT_EQ(rig.context->best()->id, at::argmax(out.back()).item<std::int64_t>());
    }
  }
  return out;
}

class GpuModel : public GpuTest {
 protected:
  void SetUp() override {
    GpuTest::SetUp();
    if (IsSkipped()) return;
    unsetenv("TETRAD_CUDA_GRAPH");
    const device::Choice chosen = device::choose("cuda");
    device_ = chosen.device;
    runtime_ = chosen.runtime;
  }
  at::Device device_ = at::kCPU;
  DeviceRuntime* runtime_ = nullptr;
};

double distance(const at::Tensor& a, const at::Tensor& b) {
  return (at::linalg_vector_norm(a.sub(b)).item<double>()) / at::linalg_vector_norm(b).item<double>();
}

TEST_F(GpuModel, AgreesWithTheCpuOnBothPaths) {
  const auto ids = test::rig_ids(48);
  for (const Path path : {Path::training, Path::bridge}) {
    for (const at::ScalarType dtype : {at::kBFloat16, at::kHalf, at::kFloat}) {
      Rig gpu(device_, choice(dtype, path)), cpu(at::kCPU, choice(dtype, path));
      const auto got = run(gpu, ids, 30), expected = run(cpu, ids, 30);
      for (std::size_t i = 0; i < got.size(); ++i)
        EXPECT_LT(distance(got[i], expected[i]), dtype == at::kFloat  ? 1e-4
                                                 : dtype == at::kHalf ? 0.01
                                                                      : 0.05)
            << "token " << i << (path == Path::bridge ? " bridge " : " training ") << c10::toString(dtype);
    }
  }
}

TEST_F(GpuModel, TheGraphGivesThePlainPassBitForBitWhileTheCacheGrows) {
  const auto ids = test::rig_ids(620);
  for (const Path path : {Path::training, Path::bridge}) {
    setenv("TETRAD_CUDA_GRAPH", "0", 1);
    Rig plain(device_, choice(at::kBFloat16, path));
    const auto expected = run(plain, ids, 20);
    unsetenv("TETRAD_CUDA_GRAPH");
    Rig graph(device_, choice(at::kBFloat16, path));
    const auto got = run(graph, ids, 20);
    for (std::size_t i = 0; i < got.size(); ++i)
      ASSERT_TRUE(at::equal(got[i], expected[i]))
          << "token " << i << " off by " << distance(got[i], expected[i]);
    EXPECT_EQ(graph.context->kv_lengths().next_position, 620);
  }
}

// A training pass keeps what it decoded last, 256 MiB of it: ten weights of 32 MiB do not fit. Its products
// are those of the weights as they are, however often and in whatever order they are asked for.
TEST_F(GpuModel, TrainingPassesReuseDecodedWeightsOnlyWhileTheyAreFresh) {
  backend_nvfp4::BackendNvfp4 backend(Options({{"eval_cache", true},
                                               {"residency", std::string("dense")},
                                               {"compute", std::string("auto")},
                                               {"activations", std::string("dense")},
                                               {"profile", std::string("te")},
                                               {"global_scale", std::string("power_of_two")},
                                               {"forward", std::string("hi+lo")},
                                               {"head", std::string("packed")},
                                               {"embedding", std::string("dense")}}));
  LinearSetup setup;
  setup.device = device_;
  setup.dtype = at::kBFloat16;
  setup.path = Path::training;
  ASSERT_TRUE(backend.configure(setup).ok());
  constexpr std::int64_t kSize = 4096;
  const auto options = at::TensorOptions().dtype(at::kBFloat16).device(device_);
  const at::Tensor x = at::randn({40, kSize}, options);
  std::vector<Parameter> parameters(10);
  std::vector<WeightId> ids(parameters.size());
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    Parameter& p = parameters[i];
    p.name = "weight " + std::to_string(i);
    p.shape = {kSize, kSize};
    p.format = Format::bf16;
    p.dense = at::randn({kSize, kSize}, options).mul_(0.02);
    ASSERT_TRUE(backend.prepare(p, ids[i]).ok());
  }
  const auto expect_right = [&](std::size_t i) {
    at::Tensor whole, dx;
    std::vector<at::Tensor> y;
    ASSERT_TRUE(backend.dequantized(ids[i], whole).ok());
    ASSERT_TRUE(backend.forward(std::span(&ids[i], 1), x, Pass::train, y).ok());
    ASSERT_TRUE(backend.grad_input(ids[i], x, dx).ok());
    EXPECT_TRUE(at::equal(y[0], at::mm(x, whole.t()))) << i;
    EXPECT_TRUE(at::equal(dx, at::mm(x, whole))) << i;
    EXPECT_LE(backend.memory().workspace_bytes, std::int64_t{256} << 20);
  };
  for (const std::size_t i : {0, 1, 2, 1, 0, 3, 4, 5, 6, 7, 8, 9, 0, 9, 5}) expect_right(i);
  EXPECT_GT(backend.memory().workspace_bytes, std::int64_t{200} << 20);
  for (const std::size_t i : {5, 9}) {  // both are kept, and then no longer what the weight is
    parameters[i].dense.mul_(-0.5);
    ++parameters[i].version;
    expect_right(i);
  }
  backend.clear_eval_cache();
  EXPECT_EQ(backend.memory().workspace_bytes, 0);
  expect_right(3);
}

TEST_F(GpuModel, ATruncatedContextGoesOnAsIfNothingHadFollowed) {
  const auto ids = test::rig_ids(60);
  Rig rig(device_, choice(at::kBFloat16, Path::bridge));
  const auto first = run(rig, ids, 20);
  rig.context->truncate(40);
  for (std::size_t i = 40; i < 60; ++i) {
    const at::Tensor again = rig.context->feed(std::span(ids).subspan(i, 1)).cpu();
    ASSERT_TRUE(at::equal(again, first[i - 19])) << i;
  }
}

// How the training path holds its weights while nothing is trained changes no bit, in the graph or before it.
TEST_F(GpuModel, PlanesGiveTheDenseParametersBits) {
  const auto ids = test::rig_ids(40);
  for (const at::ScalarType dtype : {at::kBFloat16, at::kHalf, at::kFloat}) {
    RigChoice c = choice(dtype, Path::training);
    c.residency = "dense";
    Rig dense(device_, c);
    const auto expected = run(dense, ids, 20);
    c.residency = "planes";
    for (const bool cache : {true, false}) {
      c.eval_cache = cache;
      Rig planes(device_, c);
      for (const Parameter& p : planes.transformer->parameters())
        EXPECT_EQ(p.dense.defined(), p.role != Role::linear) << p.name;
      const auto got = run(planes, ids, 20);
      for (std::size_t i = 0; i < got.size(); ++i)
        ASSERT_TRUE(at::equal(got[i], expected[i])) << "token " << i << (cache ? "" : " without the cache");
    }
  }
}

// A step is held by launches at batch 1; these are shapes of Qwen3-0.6B's layers.
TEST_F(GpuModel, ALayerOfTheDecodeGraphTakesAtMostTwelveKernels) {
  for (const Path path : {Path::training, Path::bridge}) {
    std::int64_t kernels[2] = {};
    for (const std::int64_t layers : {1, 2}) {
      RigChoice c = choice(at::kBFloat16, path);
      c.layers = layers;
      c.hidden = 1024;
      c.intermediate = 3072;
      c.head_dim = 128;
      c.heads = 16;
      c.kv_heads = 8;
      Rig rig(device_, c);
      rig.context->feed(test::rig_ids(20));
      const auto graph = model::DecodeGraph::make(*rig.transformer, rig.kv, c.positions);
      ASSERT_NE(graph, nullptr);
      KvReserve answer = KvReserve::full;
      ASSERT_TRUE(rig.kv.prepare(1, answer).ok());
      graph->logits(5, 20);
      kernels[layers - 1] = graph->kernels();
    }
    const std::int64_t one = kernels[1] - kernels[0];
    std::printf("%s: %lld kernels a layer, %lld around the layers\n",
                path == Path::bridge ? "bridge" : "training", static_cast<long long>(one),
                static_cast<long long>(kernels[0] - one));
    EXPECT_GE(one, 4) << "fewer than the products alone";
    EXPECT_LE(one, 12) << (path == Path::bridge ? "bridge" : "training");
  }
}

// A thousand tokens cost their keys and values. Greedy, so that the same text comes with the eval cache and
// without.
TEST_F(GpuModel, AThousandTokensCostTheirKeysAndValues) {
  constexpr std::int64_t kAllowed = std::int64_t{64} << 20;
  std::vector<std::int32_t> texts[2];
  for (const bool cache : {true, false}) {
    RigChoice c = choice(at::kBFloat16, Path::training);
    c.eval_cache = cache;
    c.positions = 1200;
    Rig rig(device_, c);
    std::vector<std::int32_t>& text = texts[cache ? 1 : 0];
    rig.context->feed(test::rig_ids(20));
    const auto decode = [&](int tokens) {
      for (int i = 0; i < tokens; ++i) {
        text.push_back(static_cast<std::int32_t>(rig.context->best().value().id));
        rig.context->feed(std::span(text).last(1));
      }
    };
    decode(16);  // kernels, workspaces and the first graph
    runtime_->synchronize(device_.index());
    runtime_->reset_peak(device_.index());
    const DeviceMemory before = runtime_->memory(device_.index());
    const std::int64_t kv_before = rig.context->kv_memory().reserved_bytes;
    decode(1000);
    runtime_->synchronize(device_.index());
    const DeviceMemory after = runtime_->memory(device_.index());
    const std::int64_t kv = rig.context->kv_memory().reserved_bytes - kv_before;
    EXPECT_GT(kv, 0);
    std::printf("eval cache %s: live +%lld, live peak +%lld, reserved +%lld bytes; keys and values +%lld\n",
                cache ? "on" : "off", static_cast<long long>(after.live_bytes - before.live_bytes),
                static_cast<long long>(after.live_peak_bytes - before.live_bytes),
                static_cast<long long>(after.reserved_bytes - before.reserved_bytes),
                static_cast<long long>(kv));
    // Live bytes of so small a model leave no room for a leak of even a hidden state a token.
    EXPECT_LE(after.live_bytes - before.live_bytes, kv + (1 << 18));
    EXPECT_LE(after.live_peak_bytes - before.live_bytes, kv + kAllowed);
    EXPECT_LE(after.reserved_bytes - before.reserved_bytes, kv + kAllowed);
  }
  EXPECT_EQ(texts[0], texts[1]);
}

}  // namespace
}  // namespace tetrad

// The engine on a CUDA device with the real backend and KV policy, on a tiny random model: against the same
// on the CPU, and the captured decode graph against the plain pass, bit for bit.
#include <ATen/ops/argmax.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <vector>

#include "backend_nvfp4.h"
#include "checkpoint/checkpoint.h"
#include "device/choose.h"
#include "generate/context.h"
#include "gpu/device_array.h"
#include "kvc_persistent.h"
#include "model/config.h"
#include "model/loader.h"
#include "model/transformer.h"
#include "support/temp_dir.h"
#include "support/tiny_model.h"

namespace tetrad {
namespace {

constexpr std::int64_t kPositions = 700;

nlohmann::json config() {
  nlohmann::json c = test::tiny_config();
  c["hidden_size"] = 128;
  c["intermediate_size"] = 208;
  c["num_hidden_layers"] = 3;
  c["head_dim"] = 64;
  c["max_position_embeddings"] = kPositions;
  return c;
}

struct Rig {
  Rig(at::Device device, at::ScalarType dtype, Path path)
      : model_config(model::ModelConfig::parse(config(), "tiny config")),
        backend(Options({{"eval_cache", true},
                         {"residency", std::string("auto")},
                         {"compute", std::string("auto")},
                         {"activations", std::string("dense")},
                         {"profile", std::string("te")},
                         {"global_scale", std::string("power_of_two")},
                         {"forward", std::string("hi+lo")},
                         {"head", std::string("packed")},
                         {"embedding", std::string("dense")}})),
        kv(Options({{"reserve_tokens", std::int64_t{1}}, {"growth", 1.0}})) {
    setup.device = device;
    setup.dtype = dtype;
    setup.path = path;
    test::write_weights(folder / "model.safetensors", test::tiny_weights(config()));
    EXPECT_TRUE(backend.configure(setup).ok());
    transformer = std::make_unique<model::Transformer>(
        model_config,
        model::load_weights(checkpoint::Checkpoint::open(folder.path()), model_config, setup, backend,
                            "backend-nvfp4", {}),
        backend, "backend-nvfp4", setup);
    EXPECT_TRUE(kv.configure({model_config.num_hidden_layers, model_config.num_key_value_heads,
                              model_config.head_dim, dtype, device, kPositions})
                    .ok());
    context = std::make_unique<generate::Context>(*transformer, kv,
                                                  generate::ContextOptions{kPositions, 512, true});
  }

  test::TempDir folder;
  model::ModelConfig model_config;
  LinearSetup setup;
  backend_nvfp4::BackendNvfp4 backend;
  kvc_persistent::KvcPersistent kv;
  std::unique_ptr<model::Transformer> transformer;
  std::unique_ptr<generate::Context> context;
};

std::vector<std::int32_t> some_ids(std::size_t count) {
  std::vector<std::int32_t> ids;
  for (std::uint32_t i = 0, seed = 5; i < count; ++i) {
    seed = seed * 1664525U + 1013904223U;
    ids.push_back(static_cast<std::int32_t>(seed >> 24U));
  }
  return ids;
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
    device_ = device::choose("cuda").device;
  }
  at::Device device_ = at::kCPU;
};

double distance(const at::Tensor& a, const at::Tensor& b) {
  return (at::linalg_vector_norm(a.sub(b)).item<double>()) / at::linalg_vector_norm(b).item<double>();
}

TEST_F(GpuModel, AgreesWithTheCpuOnBothPaths) {
  const auto ids = some_ids(48);
  for (const Path path : {Path::training, Path::bridge}) {
    for (const at::ScalarType dtype : {at::kBFloat16, at::kHalf, at::kFloat}) {
      Rig gpu(device_, dtype, path), cpu(at::kCPU, dtype, path);
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
  const auto ids = some_ids(620);
  for (const Path path : {Path::training, Path::bridge}) {
    setenv("TETRAD_CUDA_GRAPH", "0", 1);
    Rig plain(device_, at::kBFloat16, path);
    const auto expected = run(plain, ids, 20);
    unsetenv("TETRAD_CUDA_GRAPH");
    Rig graph(device_, at::kBFloat16, path);
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
  const auto ids = some_ids(60);
  Rig rig(device_, at::kBFloat16, Path::bridge);
  const auto first = run(rig, ids, 20);
  rig.context->truncate(40);
  for (std::size_t i = 40; i < 60; ++i) {
    const at::Tensor again = rig.context->feed(std::span(ids).subspan(i, 1)).cpu();
    ASSERT_TRUE(at::equal(again, first[i - 19])) << i;
  }
}

}  // namespace
}  // namespace tetrad

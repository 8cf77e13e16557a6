// The training graph on a CUDA device against the same on the CPU: loss and every gradient of a tiny model
// over packed rows, repetition to the bit in deterministic mode, and the sink's NVFP4 gradients.
#include <ATen/Context.h>
#include <ATen/Functions.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <memory>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "device/choose.h"
#include "gpu/device_array.h"
#include "support/tiny_rig.h"
#include "train/graph/train_graph.h"
#include "train/sink/gradient_codec.h"

namespace tetrad::train {
namespace {

using Named = std::map<std::string, at::Tensor>;

class Collector final : public GradientReceiver {
 public:
  void add(const Parameter& p, at::Tensor dw) override {
    at::Tensor& sum = sums[p.name];
    const at::Tensor wide = dw.to(at::kFloat).cpu();
    sum = sum.defined() ? sum.add(wide) : wide;
  }
  void add_rows(const Parameter& p, const at::Tensor& ids, const at::Tensor& rows) override {
    const at::Tensor whole = at::zeros(p.shape);
    whole.index_copy_(0, ids.cpu(), rows.to(at::kFloat).cpu());
    add(p, whole);
  }
  Named sums;
};

// rows: lengths of the documents in each of two rows of 60 places.
Batch packed_batch(const std::vector<std::vector<std::int64_t>>& rows = {{17, 43}, {60}}) {
  Batch batch;
  batch.rows = 2;
  batch.width = 60;
  std::int64_t id = 3;
  for (const std::vector<std::int64_t>& row : rows) {
    std::int64_t document = 0;
    for (const std::int64_t length : row) {
      for (std::int64_t t = 0; t < length; ++t) {
        id = (id * 37 + 11) % 250;
        batch.ids.push_back(id);
        batch.positions.push_back(t);
        batch.documents.push_back(document);
        batch.targets.push_back(t % 3 == 0 ? Batch::not_scored : (id * 5 + t) % 250);
      }
      ++document;
    }
  }
  return batch;
}

struct Rig {
  Rig(at::Device device, at::ScalarType dtype) : config(model::ModelConfig::parse(json(), "tiny config")) {
    test::write_weights(folder / "model.safetensors", test::tiny_weights(json()));
    setup.device = device;
    setup.dtype = dtype;
    transformer =
        std::make_unique<model::Transformer>(config,
                                             model::load_weights(checkpoint::Checkpoint::open(folder.path()),
                                                                 config, setup, linear, "fake-linear", {}),
                                             linear, "fake-linear", setup);
  }
  static nlohmann::json json() {
    nlohmann::json c = test::tiny_config();
    c["hidden_size"] = 128;
    c["intermediate_size"] = 208;
    c["head_dim"] = 64;
    return c;
  }
  test::TempDir folder;
  test::FakeLinear linear;
  model::ModelConfig config;
  LinearSetup setup;
  std::unique_ptr<model::Transformer> transformer;
};

struct Result {
  at::Tensor losses;
  Named gradients;
};

Result run(Rig& rig, GraphOptions options = {}, const Batch& batch = packed_batch()) {
  const StepInput input = StepInput::make(batch, rig.config.vocab_size, rig.setup.device);
  TrainGraph graph(*rig.transformer, options);
  Result result;
  result.losses = graph.forward(input).cpu();
  Collector got;
  graph.backward(input, 0.01, got);
  result.gradients = got.sums;
  return result;
}

double distance(const at::Tensor& a, const at::Tensor& b) {
  return at::linalg_vector_norm(a.sub(b)).item<double>() /
         std::max(at::linalg_vector_norm(b).item<double>(), 1e-12);
}

class GpuTrain : public GpuTest {
 protected:
  void SetUp() override {
    GpuTest::SetUp();
    if (IsSkipped()) return;
    device_ = device::choose("cuda").device;
  }
  at::Device device_ = at::kCPU;
};

TEST_F(GpuTrain, GradientsAreThoseOfTheCpu) {
  for (const auto& [dtype, bound] : {std::pair{at::kFloat, 2e-4}, {at::kBFloat16, 4e-2}}) {
    Rig cpu(at::kCPU, at::kFloat), gpu(device_, dtype);
    const Result expected = run(cpu), got = run(gpu);
    EXPECT_LT(distance(got.losses, expected.losses), bound) << dtype;
    ASSERT_EQ(got.gradients.size(), expected.gradients.size());
    for (const auto& [name, gradient] : expected.gradients)
      EXPECT_LT(distance(got.gradients.at(name), gradient), bound) << name << " " << dtype;
  }
}

// Documents of one length may go through cuDNN's attention; others, and repetition to the bit, do not.
TEST_F(GpuTrain, AttentionOfCudnnGivesTheCpusGradients) {
  const Batch uniform = packed_batch({{30, 30}, {30, 30}});
  Rig cpu(at::kCPU, at::kFloat), gpu(device_, at::kBFloat16);
  const Result expected = run(cpu, {}, uniform);
  for (const char* attention : {"flash", "cudnn"}) {
    setenv("TETRAD_TRAIN_ATTENTION", attention, 1);
    for (const Checkpointing checkpointing : {Checkpointing::none, Checkpointing::block}) {
      const Result got = run(gpu, {checkpointing}, uniform);
      EXPECT_LT(distance(got.losses, expected.losses), 4e-2) << attention;
      for (const auto& [name, gradient] : expected.gradients)
        EXPECT_LT(distance(got.gradients.at(name), gradient), 4e-2) << name << " " << attention;
    }
  }
  unsetenv("TETRAD_TRAIN_ATTENTION");
  const Result by_itself = run(gpu, {}, uniform);
  setenv("TETRAD_TRAIN_ATTENTION", "flash", 1);
  const Result flash = run(gpu, {}, uniform);
  for (const auto& [name, gradient] : flash.gradients)
    EXPECT_LT(distance(by_itself.gradients.at(name), gradient), 1e-2) << "a length of 30, " << name;
  setenv("TETRAD_TRAIN_ATTENTION", "cudnn", 1);
  const Result mixed = run(gpu), of_cpu = run(cpu);
  for (const auto& [name, gradient] : of_cpu.gradients)
    EXPECT_LT(distance(mixed.gradients.at(name), gradient), 4e-2) << name;
  at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/false);
  const Result first = run(gpu, {}, uniform), again = run(gpu, {}, uniform);
  at::globalContext().setDeterministicAlgorithms(false, false);
  unsetenv("TETRAD_TRAIN_ATTENTION");
  for (const auto& [name, gradient] : first.gradients)
    EXPECT_TRUE(at::equal(gradient, again.gradients.at(name))) << name;
}

TEST_F(GpuTrain, TilesAndCheckpointingGiveTheSame) {
  Rig gpu(device_, at::kBFloat16);
  const Result plain = run(gpu);
  for (const GraphOptions& options :
       {GraphOptions{Checkpointing::block}, GraphOptions{Checkpointing::selective, 100000}}) {
    const Result got = run(gpu, options);
    for (const auto& [name, gradient] : plain.gradients)
      EXPECT_LT(distance(got.gradients.at(name), gradient), 1e-2) << name;
  }
}

TEST_F(GpuTrain, DeterministicAlgorithmsRepeatToTheBit) {
  at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/false);
  Rig gpu(device_, at::kBFloat16);
  const Result first = run(gpu);
  for (int i = 0; i < 5; ++i) {
    const Result again = run(gpu);
    EXPECT_TRUE(at::equal(first.losses, again.losses));
    for (const auto& [name, gradient] : first.gradients)
      EXPECT_TRUE(at::equal(gradient, again.gradients.at(name))) << name;
  }
  at::globalContext().setDeterministicAlgorithms(false, false);
}

TEST_F(GpuTrain, StoredGradientsAreTheCpuCodecsToTheBit) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    for (const std::vector<std::int64_t>& shape :
         std::vector<std::vector<std::int64_t>>{{64, 96}, {33, 40}, {1, 16}}) {
      const at::Tensor x = at::randn(shape).mul(1e-3).to(dtype);
      const Gradient expected = quantised(x), got = quantised(x.to(device_));
      EXPECT_TRUE(at::equal(got.planes.codes.cpu(), expected.planes.codes));
      EXPECT_TRUE(at::equal(got.planes.scales.cpu(), expected.planes.scales));
      EXPECT_EQ(got.decode_scale.item<float>(), expected.planes.decode_scale);
    }
  }
}

}  // namespace
}  // namespace tetrad::train

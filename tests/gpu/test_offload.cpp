// Optimizer state in pinned host memory on a CUDA device: the bits of an optimizer whose state stays there,
// whether the updates come in one call or one by one, in any order, saved and restored on the way; and the
// device is free of the state. Needs a device.
#include <ATen/Functions.h>
#include <gtest/gtest.h>
#include <tetrad/base/options.h>

#include <algorithm>
#include <deque>
#include <random>

#include "device/choose.h"
#include "gpu/device_array.h"
#include "optim_adamw_nvfp4.h"

namespace tetrad {
namespace {

using optim_adamw_nvfp4::OptimAdamWNvfp4;

class GpuOffload : public GpuTest {
 protected:
  void SetUp() override {
    GpuTest::SetUp();
    if (IsSkipped()) return;
    choice_ = device::choose("cuda");
    if (choice_.runtime->info(choice_.device.index()).unified_memory)
      GTEST_SKIP() << "device and host share one memory: offload is refused here";
  }
  device::Choice choice_;
};

struct Side {
  std::deque<Parameter> parameters;
  OptimAdamWNvfp4 optimizer;
  std::vector<StateId> ids;

  Side(const char* offload, at::Device device, const std::vector<std::vector<std::int64_t>>& shapes)
      : optimizer(Options({{"planes", std::int64_t{2}},
                           {"literal", false},
                           {"beta1", 0.9},
                           {"beta2", 0.95},
                           {"eps", 1e-8},
                           {"offload", std::string(offload)}})) {
    OptimizerSetup setup;
    setup.device = device;
    setup.seed = 3;
    require(optimizer.configure(setup));
    at::manual_seed(11);
    for (const auto& shape : shapes) {
      Parameter p;
      p.name = "w" + std::to_string(parameters.size());
      p.shape = shape;
      p.role = shape.size() == 1 ? Role::norm : Role::linear;
      p.format = Format::fp32;
      p.dense = at::randn(shape).mul_(0.05).to(device);
      parameters.push_back(std::move(p));
      ids.push_back(-1);
      require(optimizer.prepare(parameters.back(), 0.1, ids.back()));
    }
  }
  static void require(const Status& status) { ASSERT_TRUE(status.ok()) << status.message; }

  void update(const std::vector<at::Tensor>& gradients, const std::vector<std::size_t>& order,
              std::int64_t step, bool at_once, bool measure) {
    StepFactors factors;
    factors.step = step;
    factors.lr = 1e-3;
    factors.measure = measure;
    std::vector<UpdateItem> items;
    for (const std::size_t i : order) {
      UpdateItem item;
      item.state = ids[i];
      item.gradient.dense = gradients[i];
      items.push_back(item);
      if (at_once) continue;
      require(optimizer.update({&items.back(), 1}, factors));
    }
    if (at_once) require(optimizer.update(items, factors));
  }
  std::vector<at::Tensor> bits() {
    std::vector<at::Tensor> all;
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      const Parameter& p = parameters[i];
      for (const at::Tensor& t : {p.dense, p.planes.codes, p.planes.scales, p.planes.lo_codes})
        if (t.defined()) all.push_back(t.cpu());
      std::vector<NamedTensor> state;
      require(optimizer.state(ids[i], state));
      for (const NamedTensor& each : state) all.push_back(each.tensor.cpu());
    }
    return all;
  }
};

TEST_F(GpuOffload, HasTheBitsOfStateThatStays) {
  // One large state among small ones, as an embedding among blocks; a norm, which stays on the device.
  std::vector<std::vector<std::int64_t>> shapes = {{9000, 1024}, {64}};
  for (int i = 0; i < 12; ++i) shapes.push_back({512 + 32 * i, 1024});
  Side stays("none", choice_.device, shapes), moves("pinned", choice_.device, shapes);
  std::vector<std::size_t> order(shapes.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::mt19937 random(5);
  for (int step = 1; step <= 10; ++step) {
    std::vector<at::Tensor> gradients;
    for (const auto& shape : shapes)
      gradients.push_back(at::randn(shape, at::TensorOptions().device(choice_.device)));
    if (step == 7) std::shuffle(order.begin(), order.end(), random);
    const bool at_once = step % 2 == 0, measure = step == 3;
    stays.update(gradients, order, step, at_once, measure);
    moves.update(gradients, order, step, at_once, measure);
    if (step == 5) {  // saved and taken back, as a resumed run does
      for (const StateId id : moves.ids) {
        std::vector<NamedTensor> state, copy;
        ASSERT_TRUE(moves.optimizer.state(id, state).ok());
        for (const NamedTensor& each : state) copy.push_back({each.name, each.tensor.cpu().clone()});
        for (const NamedTensor& each : state) each.tensor.zero_();
        ASSERT_TRUE(moves.optimizer.restore(id, copy).ok());
      }
    }
    if (step % 3 != 0 && step != 10) continue;  // in between nothing waits for the copies
    const auto a = stays.bits(), b = moves.bits();
    ASSERT_EQ(a.size(), b.size());
    for (std::size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(at::equal(a[i], b[i])) << i << " step " << step;
  }
  const OptimizerMemory there = stays.optimizer.memory(), away = moves.optimizer.memory();
  EXPECT_GT(away.pinned_bytes, 9 * there.device_bytes / 10);
  EXPECT_LT(away.device_bytes, there.device_bytes / 20);
  // The ring: the large state and twice the next.
  EXPECT_LT(away.workspace_bytes, 9000 * 1024 * 9 / 8 + 2 * 900 * 1024 * 9 / 8 + 16384);
  // m of the large one really is host memory.
  std::vector<NamedTensor> state;
  ASSERT_TRUE(moves.optimizer.state(moves.ids[0], state).ok());
  EXPECT_TRUE(state[0].tensor.device().is_cpu());
  EXPECT_TRUE(state[0].tensor.is_pinned());
}

}  // namespace
}  // namespace tetrad

// State that comes to the device for its update alone: the same bits as state that stays, in whatever order
// the updates come, with the copies in host memory and the ring no larger than it says. On the CPU, where the
// "device" is host memory and copies are plain: the order of things is what is tested here, streams on a GPU.
#include <gmock/gmock.h>

#include <random>

#include "optim/dense_state.h"
#include "optim/pinned_states.h"
#include "optim_adamw.h"
#include "optim_rig.h"

namespace tetrad::test {
namespace {

using optim::DenseState;
using optim::PinnedStates;

struct Fleet {
  std::deque<Parameter> parameters;
  std::vector<std::unique_ptr<DenseState>> states;

  explicit Fleet(const std::vector<std::int64_t>& rows) {
    for (std::size_t i = 0; i < rows.size(); ++i) {
      parameters.push_back(random_parameter("w" + std::to_string(i), {rows[i], 40}, at::kFloat, i + 1));
      states.push_back(
          std::make_unique<DenseState>(parameters.back(), 0.1, optim::Hyper{}, optim::DenseChoice{}));
    }
  }
  void update(std::size_t i, std::int64_t step, const at::Tensor& g) {
    Gradient gradient;
    gradient.dense = g;
    optim::StepContext context;
    context.step = step;
    context.lr = 1e-3;
    states[i]->update(gradient, context, 1);
  }
};

TEST(PinnedStates, UpdatesAreThoseOfStatesThatStay) {
  const std::vector<std::int64_t> rows = {900, 30, 30, 400, 31, 7, 50};
  Fleet stays(rows), moves(rows);
  PinnedStates pinned(at::kCPU);
  for (const auto& state : moves.states) pinned.adopt(*state);
  std::vector<std::int64_t> sizes;
  for (const std::int64_t r : rows) sizes.push_back(2 * ((r * 160 + 255) / 256 * 256));
  std::mt19937 random(5);
  std::vector<std::size_t> order(rows.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  for (int step = 1; step <= 12; ++step) {
    if (step > 6) std::shuffle(order.begin(), order.end(), random);
    for (std::size_t n = 0; n < order.size(); ++n) {
      const std::size_t i = order[n];
      // A guess that is right, wrong, the state itself, or none.
      const std::size_t guess = step % 4 == 0 ? random() % order.size() : order[(n + 1) % order.size()];
      const at::Tensor g = at::randn({rows[i], 40});
      stays.update(i, step, g);
      pinned.bring(*moves.states[i], step % 4 == 1 ? nullptr : moves.states[guess].get());
      const void* here = moves.states[i]->movable()[0]->const_data_ptr();
      moves.update(i, step, g);
      pinned.send(*moves.states[i]);
      EXPECT_NE(here, moves.states[i]->movable()[0]->const_data_ptr()) << "it was updated where it lies";
    }
    EXPECT_EQ(pinned.device_bytes(), PinnedStates::ring_bytes(sizes));
    if (step == 4) pinned.settle();
    for (std::size_t i = 0; i < rows.size(); ++i) {
      EXPECT_TRUE(at::equal(stays.parameters[i].dense, moves.parameters[i].dense)) << i << " step " << step;
      for (std::size_t t = 0; t < 2; ++t)
        EXPECT_TRUE(at::equal(*stays.states[i]->movable()[t], *moves.states[i]->movable()[t])) << i;
    }
  }
  EXPECT_GT(pinned.fetched_ahead(), 30) << "of 84 updates";
}

TEST(PinnedStates, AStateThatIsRestoredIsFetchedAnew) {
  Fleet fleet({20, 20});
  PinnedStates pinned(at::kCPU);
  for (const auto& state : fleet.states) pinned.adopt(*state);
  pinned.bring(*fleet.states[0], fleet.states[1].get());
  pinned.send(*fleet.states[0]);
  pinned.settle();
  fleet.states[1]->movable()[0]->fill_(7.0);
  pinned.bring(*fleet.states[1], nullptr);
  EXPECT_EQ(fleet.states[1]->movable()[0]->min().item<float>(), 7.0F);
  pinned.send(*fleet.states[1]);
}

TEST(PinnedStates, AParameterThatComesLaterMakesTheRingLarger) {
  Fleet fleet({20, 500});
  PinnedStates pinned(at::kCPU);
  pinned.adopt(*fleet.states[0]);
  pinned.bring(*fleet.states[0], nullptr);
  fleet.update(0, 1, at::ones({20, 40}));
  pinned.send(*fleet.states[0]);
  pinned.adopt(*fleet.states[1]);
  pinned.bring(*fleet.states[1], fleet.states[0].get());
  fleet.update(1, 1, at::ones({500, 40}));
  pinned.send(*fleet.states[1]);
  EXPECT_EQ(pinned.pinned_bytes(), 520 * 40 * 8);
  EXPECT_NE(fleet.states[1]->movable()[0]->abs().max().item<float>(), 0.0F);
}

TEST(Offload, IsRefusedWhereItWouldFreeNothing) {
  Options options({{"master", std::string("fp32")},
                   {"gradient", std::string("fp32")},
                   {"beta1", 0.9},
                   {"beta2", 0.95},
                   {"eps", 1e-8},
                   {"offload", std::string("pinned")}});
  optim_adamw::OptimAdamW optimizer(options);
  OptimizerSetup setup;
  EXPECT_EQ(optimizer.capability(setup).support, Support::unsupported);
  EXPECT_THAT(optimizer.capability(setup).reason, ::testing::HasSubstr("on the CPU they are there already"));
  EXPECT_FALSE(optimizer.configure(setup).ok());
  setup.device = at::Device(at::kCUDA, 0);
  setup.unified_memory = true;
  EXPECT_THAT(optimizer.capability(setup).reason, ::testing::HasSubstr("share one memory"));
  StorageTable table;
  const std::vector<std::int64_t> large = {1000, 1000}, small = {100};
  expect_ok(optimizer.forecast(large, Role::linear, Format::bf16, table));
  EXPECT_TRUE(table.state_on_host);
  expect_ok(optimizer.forecast(small, Role::norm, Format::fp32, table));
  EXPECT_FALSE(table.state_on_host);
}

}  // namespace
}  // namespace tetrad::test

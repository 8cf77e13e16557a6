// Sampling on a device against the host's sampler: the same token from the same logits, seed and draw.
#include <ATen/ops/from_blob.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "device/choose.h"
#include "generate/device_sampler.h"
#include "gpu/device_array.h"

namespace tetrad::generate {
namespace {

class GpuSampling : public GpuTest {
 protected:
  void SetUp() override {
    GpuTest::SetUp();
    if (IsSkipped()) return;
    device_ = device::choose("cuda").device;
  }
  at::Tensor there(std::vector<float>& logits) const {
    return at::from_blob(logits.data(), {static_cast<std::int64_t>(logits.size())}, at::kFloat).to(device_);
  }
  // Draws until the end; how many of them the device made.
  int compare(const SamplingOptions& options, std::vector<float>& logits,
              const std::vector<std::int32_t>& context, int draws) {
    Sampler host(options), device(options);
    const at::Tensor row = there(logits);
    int served = 0;
    for (int i = 0; i < draws; ++i) {
      const Choice expected = host.pick(logits, context);
      const auto got = device_sampler_.pick(row, context, device);
      if (!got) {
        device.skip();
        continue;
      }
      ++served;
      EXPECT_EQ(got->id, expected.id) << "draw " << i;
      EXPECT_EQ(got->top1, expected.top1);
      EXPECT_EQ(got->top2, expected.top2);
      EXPECT_EQ(device.draws(), host.draws());
    }
    return served;
  }
  at::Device device_ = at::kCPU;
  DeviceSampler device_sampler_;
};

// Logits like a model's: a few far above many.
std::vector<float> model_like(std::mt19937& rng, std::size_t n, bool ties) {
  std::normal_distribution<float> bulk(0.0F, 2.0F);
  std::vector<float> logits(n);
  for (float& v : logits) v = bulk(rng);
  for (int i = 0; i < 40; ++i) logits[rng() % n] = 8.0F + bulk(rng) * 2.0F;
  if (ties)
    for (float& v : logits) v = std::round(v * 4.0F) / 4.0F;
  return logits;
}

TEST_F(GpuSampling, ChoosesTheHostsToken) {
  std::mt19937 rng(1);
  int served = 0, all = 0;
  for (const std::size_t n : {1U, 5U, 1000U, 1025U, 32000U, 151936U}) {
    for (const double temperature : {0.0, 0.6, 1.0, 1.7}) {
      for (const std::int64_t top_k : {0, 1, 20, 512, 2000}) {
        for (const double top_p : {1.0, 0.95, 0.3}) {
          for (const double min_p : {0.0, 0.05}) {
            for (const double penalty : {1.0, 1.3}) {
              std::vector<float> logits = model_like(rng, n, rng() % 2 == 0);
              std::vector<std::int32_t> context;
              for (int i = 0; i < 50; ++i) context.push_back(static_cast<std::int32_t>(rng() % (n + 3)));
              served += compare({.temperature = temperature,
                                 .top_k = top_k,
                                 .top_p = top_p,
                                 .min_p = min_p,
                                 .repetition_penalty = penalty,
                                 .seed = rng()},
                                logits, context, 2);
              all += 2;
              if (HasFailure()) FAIL() << n << " T " << temperature << " k " << top_k << " p " << top_p;
            }
          }
        }
      }
    }
  }
  EXPECT_GT(served, all * 7 / 10);
}

TEST_F(GpuSampling, ServesWhatChatsAskFor) {
  std::mt19937 rng(2);
  std::vector<float> logits = model_like(rng, 151936, false);
  EXPECT_EQ(compare({.temperature = 0.6, .top_k = 20, .top_p = 0.95, .seed = 1}, logits, {}, 50), 50);
  EXPECT_EQ(compare({.temperature = 0.7, .top_p = 0.8, .seed = 2}, logits, {}, 50), 50);
  EXPECT_EQ(compare({.temperature = 1.0, .seed = 3}, logits, {}, 50), 50);
  EXPECT_EQ(compare({.temperature = 0.0, .repetition_penalty = 1.1}, logits, {3, 4, 5}, 2), 2);
}

TEST_F(GpuSampling, LeavesTheRestToTheHost) {
  std::vector<float> even(151936, 1.0F);
  EXPECT_EQ(compare({.temperature = 1.0, .top_p = 0.9, .seed = 1}, even, {}, 2), 0);
  EXPECT_EQ(compare({.temperature = 1.0, .top_k = 20, .seed = 1}, even, {}, 2), 0);
  EXPECT_EQ(compare({.temperature = 1.0, .top_k = 513, .seed = 1}, even, {}, 2), 0);
  EXPECT_EQ(compare({.temperature = 1.0, .seed = 1}, even, {}, 20), 20);
  Sampler sampler({.temperature = 1.0, .seed = 1});
  std::vector<float> bad{1.0F, std::numeric_limits<float>::quiet_NaN(), 2.0F};
  EXPECT_FALSE(device_sampler_.pick(there(bad), {}, sampler));
  EXPECT_EQ(sampler.draws(), 0U);
  EXPECT_FALSE(device_sampler_.pick(there(bad).cpu(), {}, sampler));
}

// A conversation that grows, is cut back and goes on otherwise.
TEST_F(GpuSampling, PenalisesTheContextAsItIsNow) {
  std::mt19937 rng(4);
  std::vector<std::int32_t> context;
  for (int step = 0; step < 60; ++step) {
    if (step % 20 == 19) context.resize(context.size() / 2);
    context.push_back(static_cast<std::int32_t>(rng() % 300));
    if (step % 13 == 5) context.insert(context.end(), {1, 2, 3});
    std::vector<float> logits = model_like(rng, 300, true);
    EXPECT_EQ(compare({.temperature = 0.8, .top_k = 5, .repetition_penalty = 3.0, .seed = rng()}, logits,
                      context, 1),
              1);
  }
}

}  // namespace
}  // namespace tetrad::generate

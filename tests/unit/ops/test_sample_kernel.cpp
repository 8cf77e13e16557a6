// The kernel of sample.cuh itself, lane by lane on the CPU (emulated/device.h): that it chooses the host
// sampler's token whatever is cut off, and leaves to the host what it cannot hold.
#include "emulated/device.h"
// The header above comes first: it has the words that the kernel is written in.
#undef __shared__
#define __shared__ static

#include <gtest/gtest.h>

#include "generate/sampler.h"

using std::max;

namespace tetrad::emulated {

// Every lane of a warp hands `value` over and takes what lane `from` gave.
template <class T>
T exchange(T value, int from) {
  static T slots[64][kWarp];
  T* const mine = slots[threadIdx.x / kWarp];
  mine[Block::lane()] = value;
  block.meet([](auto&) {});
  const T taken = mine[from];
  block.meet([](auto&) {});
  return taken;
}

}  // namespace tetrad::emulated

template <class T>
T __shfl_xor_sync(unsigned, T value, int mask) {
  return tetrad::emulated::exchange(value, tetrad::emulated::Block::lane() ^ mask);
}
template <class T>
T __shfl_up_sync(unsigned, T value, int step) {
  const int lane = tetrad::emulated::Block::lane();
  return tetrad::emulated::exchange(value, lane >= step ? lane - step : lane);
}
inline unsigned atomicAdd(unsigned* counter, unsigned value) {
  const unsigned before = *counter;
  *counter += value;
  return before;
}

#include "ops/cuda/sample.cuh"

namespace tetrad::ops::cuda {
namespace {

Sampled on_the_device(const generate::Sampler& sampler, const std::vector<float>& logits,
                      const std::vector<std::int32_t>& context, unsigned seed) {
  const std::vector<float> guarded = logits;  // of exactly its size, for the sanitizers
  std::vector<std::uint8_t> seen(logits.size());
  for (const std::int32_t id : context)
    if (id >= 0 && static_cast<std::size_t>(id) < seen.size()) seen[static_cast<std::size_t>(id)] = 1;
  const SamplingRule rule = sampler.rule();
  const std::uint64_t bits = sampler.next_bits();
  Sampled out;
  out.best.id = -1;
  emulated::block.run(kSampleThreads, seed, [&] {
    sample_kernel(Row{guarded.data(), static_cast<std::int64_t>(guarded.size()), seen.data(), rule.penalty},
                  rule, bits, &out);
  });
  return out;
}

std::vector<float> model_like(std::mt19937& rng, std::size_t n) {
  std::normal_distribution<float> bulk(0.0F, 2.0F);
  std::vector<float> logits(n);
  for (float& v : logits) v = std::round(bulk(rng) * 8.0F) / 8.0F;  // ties
  for (std::size_t i = 0; i < 1 + n / 50; ++i) logits[rng() % n] = 8.0F + bulk(rng) * 2.0F;
  return logits;
}

TEST(SampleKernel, ChoosesTheHostsToken) {
  std::mt19937 rng(5);
  struct Case {
    std::size_t n;
    generate::SamplingOptions options;
  };
  const Case cases[] = {
      {1, {.temperature = 1.0, .top_k = 5}},
      {5, {.temperature = 1.0, .top_k = 20, .top_p = 0.95}},
      {1025, {.temperature = 0.0, .repetition_penalty = 1.5}},
      {1500, {.temperature = 1.3}},
      {3001, {.temperature = 0.9, .min_p = 0.05}},
      {4000, {.temperature = 0.6, .top_k = 20, .top_p = 0.95}},
      {4000, {.temperature = 2.0, .top_k = 512, .min_p = 0.001, .repetition_penalty = 1.3}},
      {2500, {.temperature = 0.7, .top_p = 0.8}},
      {2000, {.temperature = 6.0, .top_k = 300, .top_p = 0.3}},
      {2000, {.temperature = 6.0, .top_k = 301, .top_p = 0.4}},
      {2000, {.temperature = 6.0, .top_k = 64, .top_p = 0.3}},
      {2000, {.temperature = 6.0, .top_k = 65, .top_p = 0.2}},
      {900, {.temperature = 6.0, .top_k = 200, .top_p = 0.1}},
      {900, {.temperature = 6.0, .top_k = 201, .top_p = 0.2}},
  };
  for (const Case& c : cases) {
    generate::SamplingOptions options = c.options;
    options.seed = rng();
    generate::Sampler sampler(options);
    const std::vector<float> logits = model_like(rng, c.n);
    std::vector<std::int32_t> context;
    for (int i = 0; i < 40; ++i) context.push_back(static_cast<std::int32_t>(rng() % c.n));
    const Sampled got = on_the_device(sampler, logits, context, rng());
    const generate::Choice expected = sampler.pick(logits, context);
    ASSERT_EQ(got.served, 1) << c.n;
    ASSERT_EQ(got.best.id, expected.id) << c.n;
    ASSERT_EQ(got.best.top1, expected.top1);
    ASSERT_EQ(got.best.top2, expected.top2);
  }
}

TEST(SampleKernel, LeavesTheRestToTheHost) {
  const std::vector<float> even(3000, 1.0F);
  EXPECT_EQ(on_the_device(generate::Sampler({.temperature = 1.0, .top_k = 3}), even, {}, 1).served, 0);
  std::vector<float> bad(1100, 1.0F);
  bad[1050] = INFINITY;
  EXPECT_EQ(on_the_device(generate::Sampler({.temperature = 1.0}), bad, {}, 2).best.finite, 0);
}

}  // namespace
}  // namespace tetrad::ops::cuda

#include "generate/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <vector>

namespace tetrad::generate {
namespace {

std::map<std::int32_t, int> histogram(const SamplingOptions& options, const std::vector<float>& logits,
                                      int draws) {
  Sampler sampler(options);
  std::map<std::int32_t, int> counts;
  for (int i = 0; i < draws; ++i) ++counts[sampler.pick(logits, {}).id];
  return counts;
}

TEST(Sampler, greedy_takes_the_largest_and_the_lowest_id_of_a_tie) {
  Sampler sampler({});
  const Choice choice = sampler.pick(std::vector<float>{1.0F, 3.0F, 3.0F, 2.5F}, {});
  EXPECT_EQ(choice.id, 1);
  EXPECT_EQ(choice.top1, 3.0F);
  EXPECT_EQ(choice.top2, 3.0F);
}

TEST(Sampler, same_seed_same_tokens) {
  const std::vector<float> logits{0.1F, 0.2F, 0.3F, 0.4F};
  SamplingOptions options{.temperature = 1.0, .seed = 7};
  EXPECT_EQ(histogram(options, logits, 500), histogram(options, logits, 500));
  SamplingOptions other = options;
  other.seed = 8;
  EXPECT_NE(histogram(options, logits, 500), histogram(other, logits, 500));
}

TEST(Sampler, frequencies_follow_the_softmax) {
  const std::vector<float> logits{0.0F, std::log(2.0F), std::log(5.0F)};
  const int draws = 20000;
  auto counts = histogram({.temperature = 1.0, .seed = 1}, logits, draws);
  EXPECT_NEAR(counts[0], draws / 8.0, 4 * std::sqrt(draws / 8.0));
  EXPECT_NEAR(counts[1], draws / 4.0, 4 * std::sqrt(draws / 4.0));
  EXPECT_NEAR(counts[2], draws * 5.0 / 8, 4 * std::sqrt(draws * 5.0 / 8));
}

TEST(Sampler, temperature_sharpens) {
  const std::vector<float> logits{0.0F, 1.0F};
  auto cold = histogram({.temperature = 0.25, .seed = 3}, logits, 4000);
  EXPECT_NEAR(cold[1] / 4000.0, 1 / (1 + std::exp(-4.0)), 0.01);
}

TEST(Sampler, top_k_top_p_and_min_p_cut_the_tail) {
  // Probabilities 0.5, 0.25, 0.125, 0.125.
  const std::vector<float> logits{std::log(0.5F), std::log(0.25F), std::log(0.125F), std::log(0.125F)};
  EXPECT_EQ(histogram({.temperature = 1.0, .top_k = 2, .seed = 5}, logits, 2000).size(), 2U);
  EXPECT_EQ(histogram({.temperature = 1.0, .top_p = 0.5, .seed = 5}, logits, 2000).size(), 1U);
  EXPECT_EQ(histogram({.temperature = 1.0, .top_p = 0.7, .seed = 5}, logits, 2000).size(), 2U);
  EXPECT_EQ(histogram({.temperature = 1.0, .top_p = 1e-9, .seed = 5}, logits, 2000).size(), 1U);
  EXPECT_EQ(histogram({.temperature = 1.0, .min_p = 0.3, .seed = 5}, logits, 2000).size(), 2U);
}

TEST(Sampler, repetition_penalty_divides_positive_and_multiplies_negative) {
  Sampler sampler({.repetition_penalty = 2.0});
  const std::vector<std::int32_t> context{0, 0, 2};
  EXPECT_EQ(sampler.pick(std::vector<float>{3.0F, 2.0F, -1.0F, -1.5F}, context).id, 1);  // 1.5, 2, -2, -1.5
  EXPECT_EQ(sampler.pick(std::vector<float>{-4.0F, -9.0F, -1.0F, -1.5F}, context).id, 3);
}

}  // namespace
}  // namespace tetrad::generate

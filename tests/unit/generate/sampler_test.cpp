#include "generate/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <random>
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

TEST(Sampler, weights_are_exponentials) {
  std::mt19937 rng(1);
  std::uniform_real_distribution<float> score(-30.0F, 30.0F);
  for (int i = 0; i < 20000; ++i) {
    const float greatest = score(rng), below = std::min(greatest, score(rng));
    const double temperature = i % 2 == 0 ? 1.0 : 0.37;
    const double exact =
        std::exp((static_cast<double>(below) - static_cast<double>(greatest)) / temperature) * 0x1p40;
    const auto got =
        static_cast<double>(ops::sampling_weight(greatest, below, 1.4426950408889634 / temperature));
    ASSERT_NEAR(got, exact, 1.0 + exact * 2e-9) << greatest << " " << below;
  }
  EXPECT_EQ(ops::sampling_weight(2.0F, 2.0F, INFINITY), ops::kWeightOfTheGreatest);
  EXPECT_EQ(ops::sampling_weight(2.0F, 1.0F, INFINITY), 0U);
  EXPECT_EQ(ops::sampling_weight(0.0F, -0.0F, 3.0), ops::kWeightOfTheGreatest);
}

TEST(Sampler, products_of_64_bits_and_keys_of_scores) {
  std::mt19937_64 rng(2);
  for (int i = 0; i < 20000; ++i) {
    const std::uint64_t a = rng() >> (rng() % 64), b = rng() >> (rng() % 64);
    const ops::Wide got = ops::multiply(a, b);
    ASSERT_EQ(got.low, a * b);
    // In base 2^32, another way: the sum of four products, carries by hand.
    const auto wide = static_cast<long double>(a) * static_cast<long double>(b) / 0x1p64L;
    ASSERT_NEAR(static_cast<double>(got.high), static_cast<double>(wide),
                static_cast<double>(wide) * 1e-15 + 1.0);
  }
  EXPECT_EQ(ops::multiply(~0ULL, ~0ULL).high, ~0ULL - 1);
  EXPECT_EQ(ops::share_of(10, 1ULL << 63), 5U);
  EXPECT_EQ(ops::share_of(11, 1ULL << 63), 6U);
  EXPECT_EQ(ops::share_of(1000, 1), 1U);
  const std::vector<float> falling{INFINITY, 3e38F, 2.5F, 1e-40F, 0.0F, -1e-40F, -1.0F, -3e38F};
  for (std::size_t i = 0; i + 1 < falling.size(); ++i)
    EXPECT_LT(ops::falling_key(falling[i]), ops::falling_key(falling[i + 1])) << i;
  EXPECT_EQ(ops::falling_key(-0.0F), ops::falling_key(0.0F));
  for (const float score : falling) EXPECT_EQ(ops::score_of_key(ops::falling_key(score)), score);
}

// The rule written out with a full sort and sums from the front.
std::int32_t by_the_rule(const ops::SamplingRule& rule, std::vector<float> scores, std::uint64_t bits) {
  std::vector<std::int32_t> ids(scores.size());
  std::iota(ids.begin(), ids.end(), 0);
  const float greatest = *std::max_element(scores.begin(), scores.end());
  const auto at = [&](std::int32_t id) { return scores[static_cast<std::size_t>(id)]; };
  const auto weight = [&](std::int32_t id) { return ops::sampling_weight(greatest, at(id), rule.scale); };
  if (rule.top_k > 0 || rule.top_p > 0)
    std::stable_sort(ids.begin(), ids.end(), [&](std::int32_t a, std::int32_t b) { return at(a) > at(b); });
  if (rule.top_k > 0) ids.resize(std::min(ids.size(), static_cast<std::size_t>(rule.top_k)));
  std::uint64_t total = 0, reached = 0;
  for (const auto id : ids) total += weight(id);
  if (rule.top_p > 0) {
    std::size_t kept = 0;
    while (kept < ids.size() && reached < ops::share_of(total, rule.top_p)) reached += weight(ids[kept++]);
    ids.resize(kept);
  }
  std::erase_if(ids, [&](std::int32_t id) { return weight(id) < rule.min_weight; });
  total = reached = 0;
  for (const auto id : ids) total += weight(id);
  const std::uint64_t target = ops::sampling_target(total, bits);
  for (const auto id : ids) {
    reached += weight(id);
    if (reached > target) return id;
  }
  return -1;
}

TEST(Sampler, follows_the_rule_on_any_cuts) {
  std::mt19937 rng(3);
  std::normal_distribution<float> normal(0.0F, 3.0F);
  for (int round = 0; round < 600; ++round) {
    std::vector<float> logits(1 + rng() % 700);
    for (float& v : logits) v = round % 3 == 0 ? std::round(normal(rng)) : normal(rng);  // ties
    const SamplingOptions options{
        .temperature = std::vector<double>{0.3, 1.0, 2.0}[rng() % 3],
        .top_k = std::vector<std::int64_t>{0, 1, 20, 1000}[rng() % 4],
        .top_p = std::vector<double>{1.0, 0.95, 0.5, 1e-9}[rng() % 4],
        .min_p = std::vector<double>{0.0, 0.1, 1.0}[rng() % 3],
        .seed = rng(),
    };
    Sampler sampler(options);
    for (int draw = 0; draw < 5; ++draw) {
      const std::uint64_t bits = sampler.next_bits();
      ASSERT_EQ(sampler.pick(logits, {}).id, by_the_rule(sampler.rule(), logits, bits)) << round;
    }
    EXPECT_EQ(sampler.draws(), 5U);
  }
}

TEST(Sampler, repetition_penalty_divides_positive_and_multiplies_negative) {
  Sampler sampler({.repetition_penalty = 2.0});
  const std::vector<std::int32_t> context{0, 0, 2};
  EXPECT_EQ(sampler.pick(std::vector<float>{3.0F, 2.0F, -1.0F, -1.5F}, context).id, 1);  // 1.5, 2, -2, -1.5
  EXPECT_EQ(sampler.pick(std::vector<float>{-4.0F, -9.0F, -1.0F, -1.5F}, context).id, 3);
}

}  // namespace
}  // namespace tetrad::generate

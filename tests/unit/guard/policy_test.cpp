// The policy as tables: one row is one reading, the expectation stands beside it. "~" is an unknown reading.
#include "guard/policy.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace tetrad::guard {
namespace {

constexpr std::uint64_t mib = 1 << 20;

struct Row {
  double at;         // seconds
  double tree;       // MiB, negative = unknown
  double available;  // MiB, negative = unknown
  Verdict verdict;
  Rule rule;
};

std::optional<std::uint64_t> reading(double value) {
  if (value < 0) return std::nullopt;
  return static_cast<std::uint64_t>(value) * mib;
}

State run(const Limits& limits, const std::vector<Row>& rows) {
  State state;
  for (const Row& row : rows) {
    const Sample sample{static_cast<std::int64_t>(row.at * 1e9), reading(row.tree), reading(row.available)};
    const Decision decision = judge(limits, state, sample);
    EXPECT_EQ(decision.verdict, row.verdict) << "at " << row.at << " s";
    EXPECT_EQ(decision.rule, row.rule) << "at " << row.at << " s";
  }
  return state;
}

constexpr auto ok = Verdict::ok;
constexpr auto over = Verdict::over;
constexpr auto kill = Verdict::kill;
constexpr auto none = Rule::none;
constexpr auto tree = Rule::tree_limit;
constexpr auto floor_rule = Rule::host_floor;

TEST(Policy, WithoutALimitNothingIsJudgedButExtremesAreKept) {
  const State state = run({}, {{0, 5000, 100, ok, none}, {1, 9000, 50, ok, none}, {2, 10, 70, ok, none}});
  EXPECT_EQ(state.peak_tree_bytes, 9000 * mib);
  EXPECT_EQ(state.lowest_available_bytes, 50 * mib);
}

TEST(Policy, OverSecsZeroKillsAtTheFirstReadingOverTheLimit) {
  Limits limits;
  limits.limit_bytes = 100 * mib;
  run(limits, {{0, 99, 500, ok, none}, {1, 100, 500, ok, none}, {2, 101, 500, kill, tree}});
  run(limits, {{0, 101, 500, kill, tree}});
}

TEST(Policy, OverSecsCountsUninterruptedTimeOnly) {
  Limits limits;
  limits.limit_bytes = 100 * mib;
  limits.over_secs = 2;
  run(limits, {{0, 150, 500, over, tree},
               {1.9, 150, 500, over, tree},
               {2.4, 90, 500, ok, none},
               {2.9, 150, 500, over, tree},
               {4.8, 150, 500, over, tree},
               {4.9, 150, 500, kill, tree}});
}

TEST(Policy, UnknownReadingsNeitherKillNorClear) {
  Limits limits;
  limits.limit_bytes = 100 * mib;
  run(limits, {{0, -1, -1, ok, none}, {1, -1, -1, ok, none}});
  limits.over_secs = 2;
  run(limits, {{0, 150, -1, over, tree}, {1, -1, -1, ok, none}, {2, 150, -1, kill, tree}});
  const State state = run(limits, {{0, -1, -1, ok, none}});
  EXPECT_FALSE(state.peak_tree_bytes.has_value());
  EXPECT_FALSE(state.lowest_available_bytes.has_value());
}

TEST(Policy, AGapWithoutReadingsIsNotTimeOverTheLimit) {
  Limits limits;
  limits.limit_bytes = 100 * mib;
  limits.over_secs = 3;
  run(limits, {{0, 150, 500, over, tree}, {1000, 150, 500, over, tree}, {1003, 150, 500, kill, tree}});
  limits.poll_secs = 60;  // readings that far apart are what was asked for
  run(limits, {{0, 150, 500, over, tree}, {60, 150, 500, kill, tree}});
}

TEST(Policy, TheFloorActsAtOnceAndWithoutALimit) {
  Limits limits;
  limits.host_floor_bytes = 512 * mib;
  limits.over_secs = 10;
  run(limits, {{0, 10, 512, ok, none}, {1, 10, 511, kill, floor_rule}});
  run(limits, {{0, 10, -1, ok, none}, {1, -1, 0, kill, floor_rule}});
  limits.limit_bytes = 100 * mib;
  run(limits, {{0, 150, 511, kill, floor_rule}});
}

// Random traces against the rules said in words: never a kill when every reading is at or under both limits;
// with over_secs = 0 always a kill at the first known reading over one.
TEST(Policy, RandomTracesKeepTheInvariants) {
  std::mt19937 random(5);
  for (int round = 0; round < 5000; ++round) {
    Limits limits;
    limits.limit_bytes = 1000;
    limits.host_floor_bytes = 100;
    const bool calm = round % 2 == 0;
    State state;
    for (int i = 0; i < 50; ++i) {
      Sample sample;
      sample.mono_ns = i * 500'000'000LL;
      if (random() % 4 != 0) sample.tree_bytes = random() % (calm ? 1001 : 1100);
      if (random() % 4 != 0) sample.available_bytes = 100 - (calm ? 0 : 5) + random() % 400;
      const Decision decision = judge(limits, state, sample);
      const bool breach = sample.tree_bytes.value_or(0) > 1000 || sample.available_bytes.value_or(100) < 100;
      ASSERT_EQ(decision.verdict == Verdict::kill, breach);
      ASSERT_FALSE(calm && breach);
    }
  }
}

Sample at(double seconds, double tree_mib, double reaction = 0.01) {
  Sample sample;
  sample.mono_ns = static_cast<std::int64_t>(seconds * 1e9);
  sample.tree_bytes = static_cast<std::uint64_t>(tree_mib * mib);
  sample.reaction_secs = reaction;
  return sample;
}

TEST(Policy, GrowthThatWillPassTheLimitBeforeTheNextReadingEndsTheRun) {
  Limits limits;
  limits.limit_bytes = 8192 * mib;
  State state;
  EXPECT_EQ(judge(limits, state, at(0, 7900)).verdict, ok);
  EXPECT_EQ(judge(limits, state, at(0.01, 7940)).verdict, ok) << "one interval may be a leap";
  EXPECT_EQ(judge(limits, state, at(0.02, 7980)).verdict, ok) << "4 GiB/s, 10 ms ahead: 8020 MiB";
  EXPECT_EQ(judge(limits, state, at(0.05, 8100)).verdict, ok);
  const Decision decision = judge(limits, state, at(0.07, 8180));
  EXPECT_EQ(decision.verdict, kill);
  EXPECT_EQ(decision.rule, Rule::predicted);
  EXPECT_EQ(decision.limit_bytes, 8192 * mib);
  EXPECT_GT(decision.rate, 3000.0 * mib);
}

TEST(Policy, NothingIsForeseenBelowTheWindowOrWithOverSecs) {
  EXPECT_EQ(prediction_window(108ULL << 30), 256 * mib);
  EXPECT_EQ(prediction_window(1000 * mib), 40 * mib);
  for (const double over_secs : {0.0, 1.0}) {
    Limits limits;
    limits.limit_bytes = 8192 * mib;
    limits.over_secs = over_secs;
    State state;
    double last = 7000;
    for (int i = 0; i < 10; ++i) {
      last = over_secs > 0 ? 8000 + 19 * i : 7000 + 93 * i;  // the second stays below 8192 - 256
      EXPECT_EQ(judge(limits, state, at(0.01 * i, last, 10)).verdict, ok) << last;
    }
  }
}

// The requirement in so many words: 1,000 ramps of any rate, limit and reaction that stop at 95 % of the
// limit.
TEST(Policy, ARampThatStopsAt95PercentIsNeverKilled) {
  std::mt19937 random(17);
  const auto uniform = [&](double low, double high) {
    return std::uniform_real_distribution(low, high)(random);
  };
  for (int ramp = 0; ramp < 1000; ++ramp) {
    Limits limits;
    limits.limit_bytes = static_cast<std::uint64_t>(uniform(64, 120000)) * mib;
    limits.poll_secs = uniform(0.05, 0.5);
    const double end = 0.95 * static_cast<double>(*limits.limit_bytes) / mib;
    const double rate = uniform(100, 30000);  // MiB/s
    State state;
    double now = 0;
    double used = end * uniform(0, 0.9);
    for (int steady = 0; steady < 5;) {
      const Decision decision = judge(limits, state, at(now, used, uniform(0, 0.1)));
      ASSERT_NE(decision.verdict, kill) << "limit " << *limits.limit_bytes / mib << " at " << used;
      ASSERT_GT(decision.next_secs, 0);
      ASSERT_LE(decision.next_secs, limits.poll_secs);
      now += decision.next_secs * uniform(1, 1.5);
      used = std::min(end, used + rate * decision.next_secs * uniform(0.5, 1));
      if (used >= end) ++steady;
    }
  }
}

// A ramp that goes on is always ended, by less than one period of growth beyond the limit.
TEST(Policy, ARampThatGoesOnIsEndedWithinOneReading) {
  std::mt19937 random(19);
  for (int ramp = 0; ramp < 1000; ++ramp) {
    Limits limits;
    limits.limit_bytes = (256 + random() % 100000) * mib;
    const double rate = 100 + random() % 8000;
    const double limit = static_cast<double>(*limits.limit_bytes) / mib;
    State state;
    double now = 0;
    double used = 0;
    double last_wait = 0;
    for (;;) {
      const Decision decision = judge(limits, state, at(now, used, 0.004));
      if (decision.verdict == kill) break;
      last_wait = decision.next_secs;
      now += last_wait;
      used += rate * last_wait;
      ASSERT_LT(used, 2 * limit + 10000);
    }
    EXPECT_LE(used, limit + rate * last_wait);
    EXPECT_LE(used - limit, std::max(64.0, rate * 0.0021)) << rate;
    EXPECT_GE(used, limit - 256);
  }
}

TEST(Policy, SamplingQuickensAsHeadroomShrinksAndNeverSlowsBeyondThePoll) {
  Limits limits;
  limits.limit_bytes = 64ULL << 30;
  double last = 1e9;
  for (const double used : {0.0, 50e3, 60e3, 64e3, 65e3, 65500.0}) {
    State state;
    const Decision decision = judge(limits, state, at(0, used));
    EXPECT_LE(decision.next_secs, last);
    EXPECT_LE(decision.next_secs, limits.poll_secs);
    EXPECT_GE(decision.next_secs, 0.002);
    last = decision.next_secs;
  }
  EXPECT_LT(last, 0.005);
}

TEST(Policy, TheSoftStageComesOnceForEachPassing) {
  Limits limits;
  limits.limit_bytes = 1000 * mib;
  limits.soft_bytes = 900 * mib;
  State state;
  EXPECT_EQ(judge(limits, state, at(0, 899)).verdict, ok);
  const Decision first = judge(limits, state, at(1, 901));
  EXPECT_EQ(first.verdict, Verdict::soft);
  EXPECT_EQ(first.limit_bytes, 900 * mib);
  EXPECT_EQ(judge(limits, state, at(2, 905)).verdict, ok) << "asked already";
  EXPECT_EQ(judge(limits, state, at(3, 890)).verdict, ok);
  EXPECT_EQ(judge(limits, state, at(4, 910)).verdict, ok) << "it did not fall clearly below";
  EXPECT_EQ(judge(limits, state, at(5, 800)).verdict, ok);
  EXPECT_EQ(judge(limits, state, at(6, 910)).verdict, Verdict::soft);
  EXPECT_EQ(judge(limits, state, at(7, 1001)).verdict, kill);
}

TEST(Policy, DeviceMemoryHasItsOwnLimitAndOnUnifiedMemoryTheSumCounts) {
  Limits limits;
  limits.limit_bytes = 1000 * mib;
  limits.device_limit_bytes = 500 * mib;
  Sample sample = at(0, 900);
  sample.device_bytes = 400 * mib;
  State state;
  EXPECT_EQ(judge(limits, state, sample).verdict, ok);
  sample.mono_ns += 1'000'000'000;
  sample.device_bytes = 501 * mib;
  Decision decision = judge(limits, state, sample);
  EXPECT_EQ(decision.verdict, kill);
  EXPECT_EQ(decision.rule, Rule::device_limit);
  EXPECT_EQ(decision.bytes, 501 * mib);

  State unified;
  sample.unified = true;
  sample.device_bytes = 90 * mib;
  EXPECT_EQ(judge(limits, unified, sample).verdict, ok);
  sample.mono_ns += 1'000'000'000;
  sample.device_bytes = 101 * mib;
  decision = judge(limits, unified, sample);
  EXPECT_EQ(decision.rule, Rule::unified_limit);
  EXPECT_EQ(decision.bytes, 1001 * mib);
  EXPECT_EQ(unified.peak_tree_bytes, 1001 * mib);
}

TEST(Policy, OnePoolUnknownDoesNotClearTheOther) {
  Limits limits;
  limits.limit_bytes = 1000 * mib;
  limits.device_limit_bytes = 500 * mib;
  limits.over_secs = 2;
  State state;
  Sample sample = at(0, 10);
  sample.device_bytes = 600 * mib;
  EXPECT_EQ(judge(limits, state, sample).verdict, over);
  EXPECT_EQ(judge(limits, state, at(1, 10)).verdict, ok) << "the device is unknown now";
  sample.mono_ns = 2'100'000'000;
  EXPECT_EQ(judge(limits, state, sample).verdict, kill);
}

}  // namespace
}  // namespace tetrad::guard

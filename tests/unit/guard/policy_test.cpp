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

}  // namespace
}  // namespace tetrad::guard

// From the user's words to limits, with the texts that people see.
#include "guard/settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <tetrad/base/error.h>

#include <cmath>
#include <limits>

namespace tetrad::guard {
namespace {

using testing::HasSubstr;
constexpr std::uint64_t gib = std::uint64_t{1} << 30;

Capacity machine(std::uint64_t total, std::uint64_t available) {
  return {total, available, true};
}

struct Refusal {
  int code;
  std::string text;
};

Refusal refusal(const Settings& settings, const Capacity& capacity) {
  try {
    make_limits(settings, capacity);
  } catch (const Error& e) {
    return {static_cast<int>(e.code()), e.what()};
  }
  return {0, "no error"};
}

TEST(Settings, AutomaticLeavesEightGibOnLargeMachines) {
  EXPECT_EQ(automatic_limit(16 * gib), 16 * gib / 10 * 9);
  EXPECT_EQ(automatic_limit(32 * gib), 32 * gib / 10 * 9);
  EXPECT_EQ(automatic_limit(40 * gib), 32 * gib);
  EXPECT_EQ(automatic_limit(128 * gib), 128 * gib / 10 * 9);
}

TEST(Settings, NumbersAreGib) {
  Settings settings;
  settings.limit_gb = 1.5;
  settings.host_floor_gb = 0;
  const Limits limits = make_limits(settings, machine(24 * gib, 20 * gib));
  EXPECT_EQ(limits.limit_bytes, 3 * gib / 2);
  EXPECT_EQ(limits.host_floor_bytes, 0U);
  settings.limit_gb = LimitWord::automatic;
  EXPECT_EQ(make_limits(settings, machine(24 * gib, 20 * gib)).limit_bytes, 24 * gib / 10 * 9);
  settings.limit_gb = LimitWord::none;
  EXPECT_FALSE(make_limits(settings, machine(24 * gib, 20 * gib)).limit_bytes.has_value());
}

TEST(Settings, ImpossibleOnesAreRefusedWithTheNumbers) {
  Settings settings;
  settings.limit_gb = 108.0;
  const auto too_much = refusal(settings, machine(24 * gib, 20 * gib));
  EXPECT_EQ(too_much.code, 2);
  EXPECT_THAT(too_much.text, HasSubstr("108 GiB is more than the 24 GiB that this machine has"));
  EXPECT_THAT(too_much.text, HasSubstr("auto (21.6 GiB)"));
  for (const double bad : {0.0, -1.0, std::nan(""), std::numeric_limits<double>::infinity(), 1e300}) {
    settings.limit_gb = bad;
    EXPECT_EQ(refusal(settings, machine(24 * gib, 20 * gib)).code, 2) << bad;
  }
  settings = {};
  settings.over_secs = -1;
  EXPECT_EQ(refusal(settings, machine(24 * gib, 20 * gib)).code, 2);
  settings = {};
  settings.poll_secs = 0.01;
  EXPECT_EQ(refusal(settings, machine(24 * gib, 20 * gib)).code, 2);
  settings = {};
  settings.host_floor_gb = 2;
  const auto low = refusal(settings, machine(24 * gib, gib));
  EXPECT_EQ(low.code, 1);
  EXPECT_THAT(low.text,
              HasSubstr("only 1024 MiB are available on this machine, less than the floor of 2048 MiB"));
}

TEST(Settings, ALimitThatCannotBeObservedIsRefusedAsBlind) {
  Settings settings;
  settings.limit_gb = LimitWord::automatic;
  EXPECT_EQ(refusal(settings, {24 * gib, 20 * gib, false}).code, 125);
  EXPECT_EQ(refusal(settings, {std::nullopt, std::nullopt, true}).code, 125);
  settings.limit_gb = LimitWord::none;
  EXPECT_EQ(refusal(settings, {std::nullopt, std::nullopt, false}).code, 0);
}

TEST(Settings, TheFirstLineSaysWhatIsWatched) {
  const Capacity capacity = machine(24 * gib, 20 * gib);
  Settings settings;
  settings.limit_gb = 2.0;
  EXPECT_EQ(describe(make_limits(settings, capacity), capacity),
            "[guard] limit=2 GiB (2048 MiB) over=0 s poll=0.5 s sensors=guard-host");
  settings.limit_gb = LimitWord::none;
  EXPECT_EQ(
      describe(make_limits(settings, capacity), capacity),
      "[guard] no limit set: only the floor of 512 MiB available memory is watched; set guard.limit_gb");
  settings.host_floor_gb = 0;
  EXPECT_EQ(describe(make_limits(settings, capacity), capacity),
            "[guard] no limit set: nothing is watched; set guard.limit_gb");
}

TEST(Settings, SizesReadWell) {
  EXPECT_EQ(format_gib(2 * gib), "2 GiB");
  EXPECT_EQ(format_gib(gib / 10), "0.1 GiB");
  EXPECT_EQ(format_gib(1567 * (gib / 1024)), "1.53 GiB");
  EXPECT_EQ(format_mib(gib + (1 << 19)), "1025 MiB");
  EXPECT_EQ(format_or_unknown(std::nullopt), "unknown");
}

}  // namespace
}  // namespace tetrad::guard

// What the allocator may hold under a guard's limit: with memory of its own, on unified memory, and at the
// edges.
#include "device/memory_cap.h"

#include "cli/engine/device_cap.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "support/error_text.h"

namespace tetrad::device {
namespace {

using test::error_text;
using testing::AllOf;
using testing::HasSubstr;

constexpr std::int64_t mib = std::int64_t{1} << 20;
constexpr std::int64_t gib = std::int64_t{1} << 30;

CapInput card(std::int64_t limit, std::int64_t total = 80 * gib) {
  CapInput input;
  input.limit_bytes = limit;
  input.total_bytes = total;
  input.context_bytes = 500 * mib;
  return input;
}

// What libtorch makes of a fraction.
std::int64_t allowed(double fraction, std::int64_t total) {
  return static_cast<std::int64_t>(fraction * static_cast<double>(total));
}

TEST(MemoryCap, TheContextComesOffTheLimit) {
  const CapInput input = card(20 * gib);
  const auto cap = memory_cap(input);
  ASSERT_TRUE(cap.has_value());
  EXPECT_EQ(cap->bytes, 20 * gib - 500 * mib);
  EXPECT_EQ(cap->context_bytes, 500 * mib);
  EXPECT_THAT(cap->text(input),
              AllOf(HasSubstr("may hold 19.5 GiB"), HasSubstr("limit of 20.0 GiB"),
                    HasSubstr("0.488 GiB for the context"), testing::Not(HasSubstr("host"))));
}

TEST(MemoryCap, OnUnifiedMemoryTheProcessItselfComesOffToo) {
  CapInput input = card(108 * gib, 121 * gib);
  input.unified = true;
  input.host_bytes = 3 * gib;
  const auto cap = memory_cap(input);
  ASSERT_TRUE(cap.has_value());
  EXPECT_EQ(cap->bytes, 105 * gib - 500 * mib);
  EXPECT_THAT(cap->text(input), HasSubstr("3.00 GiB that this process has as host memory"));
  input.unified = false;
  EXPECT_EQ(memory_cap(input)->bytes, 108 * gib - 500 * mib) << "host memory is another pool";
}

TEST(MemoryCap, OtherProgramsOnTheDeviceAreNoContext) {
  CapInput input = card(20 * gib);
  input.context_bytes = 30 * gib;
  EXPECT_EQ(memory_cap(input)->bytes, 20 * gib - most_context_bytes);
  input.context_bytes = -5 * gib;  // the machine got memory back meanwhile
  EXPECT_EQ(memory_cap(input)->bytes, 20 * gib);
}

TEST(MemoryCap, ALimitBeyondTheDeviceBindsNothing) {
  EXPECT_FALSE(memory_cap(card(80 * gib + 500 * mib)).has_value());
  EXPECT_TRUE(memory_cap(card(80 * gib + 500 * mib - 1)).has_value());
}

TEST(MemoryCap, WhereNothingIsLeftItIsAnErrorWithTheNumbers) {
  EXPECT_THAT(error_text([] { memory_cap(card(400 * mib)); }),
              AllOf(HasSubstr("[device] nothing is left for the model"), HasSubstr("0.391 GiB"),
                    HasSubstr("0.488 GiB for the context"), HasSubstr("guard.limit_gb")));
  CapInput input = card(4 * gib);
  input.reserved_bytes = 4 * gib;
  EXPECT_THAT(error_text([&] { memory_cap(input); }), HasSubstr("nothing is left"));
}

TEST(MemoryCap, TheFractionNeverAllowsAByteMore) {
  std::mt19937_64 random(23);
  for (int i = 0; i < 100'000; ++i) {
    const auto total = static_cast<std::int64_t>(random() % (192ULL << 30)) + gib;
    CapInput input =
        card(static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(total)) + 600 * mib, total);
    const auto cap = memory_cap(input);
    if (!cap) continue;
    ASSERT_LE(allowed(cap->fraction, total), cap->bytes);
    ASSERT_GE(allowed(cap->fraction, total), cap->bytes - 64);
    ASSERT_GT(cap->fraction, 0);
    ASSERT_LE(cap->fraction, 1);
  }
}

TEST(DeviceLimit, FollowsTheConfigAndThePool) {
  const std::uint64_t host = 100ULL << 30;
  EXPECT_EQ(cli::device_limit("auto", host, 80 * gib, false), 72 * gib) << "the device's own 90 %";
  EXPECT_EQ(cli::device_limit(20.0, 20ULL << 30, 80 * gib, false), 20 * gib);
  EXPECT_EQ(cli::device_limit(100.0, host, 80 * gib, false), std::nullopt) << "more than it has";
  EXPECT_EQ(cli::device_limit("auto", host, 121 * gib, true), 100 * gib) << "one pool, one limit";
  EXPECT_EQ(cli::device_limit("none", std::nullopt, 80 * gib, false), std::nullopt);
  EXPECT_EQ(cli::device_limit("none", 30ULL << 30, 80 * gib, false), 30 * gib) << "of a guard above";
}

}  // namespace
}  // namespace tetrad::device

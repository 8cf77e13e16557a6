// Shared pages counted once, device memory between two readings of its rows, and the page between supervisor
// and helper.
#include "guard/account.h"

#include "guard/page.h"
#include "guard/sensor_loop.h"
#include "guard/settings.h"
#include "guard/tree.h"

#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <memory>
#include <random>

namespace tetrad::guard {
namespace {

constexpr std::uint64_t mib = 1 << 20;
constexpr std::int64_t second = 1'000'000'000;

TreeReading tree(double seconds, std::uint64_t sum, std::uint64_t largest, std::uint64_t available) {
  return {static_cast<std::int64_t>(seconds * 1e9), sum * mib, largest * mib, available * mib};
}

TEST(SharedPages, WithinTheLimitTheSumIsTheAnswer) {
  SharedPages pages;
  EXPECT_EQ(pages.bytes(tree(0, 500, 100, 9000), 1000 * mib), 500 * mib);
  EXPECT_EQ(pages.bytes(tree(1, 5000, 100, 9000), std::nullopt), 5000 * mib);
}

TEST(SharedPages, OneProcessOverTheLimitIsCertain) {
  SharedPages pages;
  EXPECT_EQ(pages.bytes(tree(0, 2000, 1500, 9000), 1000 * mib), 2000 * mib);
}

TEST(SharedPages, AForkThatSharesEverythingCostsNothing) {
  SharedPages pages;
  pages.bytes(tree(0, 600, 600, 9000), 1000 * mib);
  EXPECT_EQ(pages.bytes(tree(0.1, 3000, 600, 8990), 1000 * mib), 600 * mib);
  EXPECT_EQ(pages.bytes(tree(0.2, 3000, 600, 8500), 1000 * mib), 844 * mib) << "500 MiB are lost: doubtful";
  EXPECT_EQ(pages.bytes(tree(0.3, 3000, 600, 8000), 1000 * mib), 1344 * mib) << "written to: now real";
  EXPECT_EQ(pages.bytes(tree(0.4, 1650, 600, 8000), 1000 * mib), 1550 * mib) << "little is shared";
}

TEST(SharedPages, WithoutACertainMomentOrAfterALongTimeTheSumCounts) {
  SharedPages pages;
  EXPECT_EQ(pages.bytes(tree(0, 3000, 600, 9000), 1000 * mib), 3000 * mib);
  pages.bytes(tree(1, 600, 600, 9000), 1000 * mib);
  EXPECT_EQ(pages.bytes(tree(9, 3000, 600, 9000), 1000 * mib), 3000 * mib) << "nobody told the shares";
  pages.take_shares(9 * second, 700 * mib, 9000 * mib);
  EXPECT_EQ(pages.bytes(tree(9.5, 3000, 600, 8200), 1000 * mib), (700 + 800 - 256) * mib);
}

// Whatever is shared with whom, the answer lies between the largest member and the sum.
TEST(SharedPages, RandomReadingsStayBetweenTheBounds) {
  std::mt19937 random(3);
  SharedPages pages;
  for (int i = 0; i < 20000; ++i) {
    const std::uint64_t largest = random() % 2000;
    const std::uint64_t sum = largest + random() % 3000;
    const std::uint64_t answer =
        pages.bytes(tree(0.05 * i, sum, largest, random() % 10000), (random() % 3000) * mib);
    ASSERT_GE(answer, largest * mib);
    ASSERT_LE(answer, sum * mib);
  }
}

GuardSample card(bool unified, std::uint64_t used, std::uint64_t used_at_rows) {
  GuardSample sample;
  GuardDevice device;
  device.unified = unified;
  device.rows_known = true;
  device.rows_ns = 10 * second;
  if (!unified) {
    device.total_bytes = 8192 * mib;
    device.used_bytes = used * mib;
    device.used_at_rows_bytes = used_at_rows * mib;
  }
  device.rows = {{{7, 70}, 100 * mib}, {{8, 80}, 200 * mib}, {{9, 90}, 4000 * mib}};
  sample.devices.push_back(device);
  return sample;
}

const std::vector<GuardProcess> ours = {{7, 70}, {8, 80}, {9, 99}};  // 9 has another start: a reused number

TEST(Devices, RowsOfTheTreeAreSummedAndAReusedPidIsNot) {
  History history;
  const DeviceReading reading = read_devices(card(false, 4300, 4300), ours, history, {});
  EXPECT_EQ(reading.tree_bytes, 300 * mib);
  EXPECT_EQ(reading.total_bytes, 4300 * mib);
  EXPECT_EQ(reading.capacity_bytes, 8192 * mib);
  EXPECT_EQ(reading.outside, 1U);
  EXPECT_FALSE(reading.estimated);
}

TEST(Devices, GrowthSinceTheRowsIsCountedAsTheTrees) {
  History history;
  EXPECT_EQ(read_devices(card(false, 4350, 4300), ours, history, {}).tree_bytes, 350 * mib);
  EXPECT_EQ(read_devices(card(false, 4000, 4300), ours, history, {}).tree_bytes, 300 * mib);
  const std::vector<GuardProcess> nobody;
  EXPECT_EQ(read_devices(card(false, 4350, 4300), nobody, history, {}).tree_bytes, 0U)
      << "no context, no growth";
}

TEST(Devices, OnUnifiedMemoryTheMachinesLossCountsLessWhatTheTreeTookItself) {
  History history;
  history.add({9 * second, 50 * mib, 8000 * mib});
  history.add({11 * second, 80 * mib, 7900 * mib});
  const Moment now{12 * second, 90 * mib, 7800 * mib};
  const DeviceReading reading = read_devices(card(true, 0, 0), ours, history, now);
  EXPECT_EQ(reading.tree_bytes, (300 + 200 - 40) * mib);
  EXPECT_TRUE(reading.unified);
  EXPECT_TRUE(reading.estimated);
  EXPECT_EQ(reading.total_bytes, 4300 * mib) << "the rows of all processes";
}

TEST(Devices, AnUnknownRowOfOurOwnMakesTheSumUnknown) {
  GuardSample sample = card(false, 4300, 4300);
  sample.devices[0].rows[0].bytes.reset();
  const DeviceReading reading = read_devices(sample, ours, History(), {});
  EXPECT_FALSE(reading.tree_bytes.has_value());
  EXPECT_EQ(reading.unknown, 1U);
  sample.devices[0].rows_known = false;
  EXPECT_FALSE(read_devices(sample, ours, History(), {}).tree_bytes.has_value());
}

TEST(Devices, ANumberBeyondTheDevicesMemoryIsNoLimitForThem) {
  Limits limits;
  limits.limit_bytes = 64ULL << 30;
  limits.device_mode = DeviceLimit::same;
  EXPECT_EQ(device_limit(limits, 80ULL << 30), 64ULL << 30);
  EXPECT_FALSE(device_limit(limits, 24ULL << 30).has_value());
  limits.device_mode = DeviceLimit::automatic;
  EXPECT_EQ(device_limit(limits, 80ULL << 30), automatic_limit(80ULL << 30));
}

class OneSensor final : public GuardSensor {
 public:
  Status probe(std::string& evidence) noexcept override {
    evidence = "works";
    return {};
  }
  Status sample(const GuardRequest& request, GuardSample& sample) noexcept override {
    seen = {request.tree.begin(), request.tree.end()};
    sample = card(false, 4300, 4300);
    sample.shares = {{{7, 70}, 5}};
    sample.shares_ns = 3;
    sample.pressure_full_avg10 = 1.5;
    sample.problem = std::string(1000, 'x');
    return {};
  }
  std::vector<GuardProcess> seen;
};

TEST(Page, WhatTheSensorSaysArrivesWhole) {
  const auto page = std::make_unique<Page>();
  page->period_us = 1000;
  PageTree& list = page->tree.begin();
  list.count = 3;
  std::copy(ours.begin(), ours.end(), list.members.begin());
  page->tree.end();
  OneSensor sensor;
  const int wake = ::eventfd(0, EFD_NONBLOCK);
  EXPECT_EQ(run_sensor(sensor, *page, wake, 2), 0);
  ::close(wake);
  ASSERT_EQ(sensor.seen.size(), 3U);
  EXPECT_EQ(sensor.seen[2].start_ticks, 99U);
  EXPECT_EQ(page->probed.load(), 1U);
  EXPECT_STREQ(page->evidence, "works");
  GuardSample sample;
  ASSERT_TRUE(page->sample.read([&](const PageSample& from) { sample = load(from); }));
  ASSERT_EQ(sample.devices.size(), 1U);
  EXPECT_EQ(sample.devices[0].rows.size(), 3U);
  EXPECT_EQ(sample.devices[0].rows[1].bytes, 200 * mib);
  EXPECT_EQ(sample.devices[0].total_bytes, 8192 * mib);
  EXPECT_EQ(sample.shares.at(0).proportional_bytes, 5U);
  EXPECT_EQ(sample.pressure_full_avg10, 1.5);
  EXPECT_EQ(sample.problem.size(), sizeof(PageSample::problem) - 1);
  EXPECT_FALSE(sample.group_limit_bytes.has_value());
}

TEST(Page, CountsBeyondTheArraysAreCut) {
  const auto from = std::make_unique<PageSample>();
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    for (std::size_t i = 0; i < sizeof(PageSample) / 4; ++i)
      reinterpret_cast<std::uint32_t*>(from.get())[i] = random();
    const GuardSample sample = load(*from);
    ASSERT_LE(sample.devices.size(), most_devices);
    ASSERT_LE(sample.shares.size(), most_members);
  }
}

TEST(Page, AReaderThatMeetsAWriterGoesOnWithoutAValue) {
  Published<PageTree> published;
  EXPECT_FALSE(published.read([](const PageTree&) {})) << "nothing was written yet";
  published.begin();
  EXPECT_FALSE(published.read([](const PageTree&) {}));
  published.end();
  EXPECT_TRUE(published.read([](const PageTree&) {}));
}

}  // namespace
}  // namespace tetrad::guard

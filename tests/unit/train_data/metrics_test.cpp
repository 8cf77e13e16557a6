#include "train/metrics/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "support/error_text.h"
#include "support/temp_dir.h"
#include "train/metrics/event_file.h"

namespace tetrad::train {
namespace {

using test::error_text;
using test::TempDir;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<nlohmann::json> lines_of(const TempDir& dir) {
  std::istringstream in(test::read_all(dir / "metrics.jsonl"));
  std::vector<nlohmann::json> result;
  for (std::string line; std::getline(in, line);) result.push_back(nlohmann::json::parse(line));
  return result;
}

std::vector<std::int64_t> steps_of(const TempDir& dir) {
  std::vector<std::int64_t> steps;
  for (const auto& line : lines_of(dir)) steps.push_back(line.at("step").get<std::int64_t>());
  return steps;
}

TEST(Metrics, OneLineAStep) {
  const TempDir dir;
  MetricsLog log({.folder = dir.path()});
  log.write(1, {{"train/loss", 2.5}, {"train/norm", std::nan("")}, {"x", 0.1}});
  log.write_text(1, "answer", "line\n\xFF");
  log.write(2, {{"train/loss", std::numeric_limits<double>::infinity()}});
  log.flush();
  const auto lines = lines_of(dir);
  ASSERT_EQ(lines.size(), 3U);
  EXPECT_EQ(lines[0].at("train/loss"), 2.5);
  EXPECT_EQ(lines[0].at("x"), 0.1);
  EXPECT_TRUE(lines[0].at("train/norm").is_null());
  EXPECT_GT(lines[0].at("time"), 1.6e9);
  EXPECT_EQ(lines[1].at("text").at("answer"), "line\n\xEF\xBF\xBD");
  EXPECT_TRUE(lines[2].at("train/loss").is_null());
}

TEST(Metrics, AResumedRunDropsWhatComesAgain) {
  const TempDir dir;
  const auto write = [&](std::int64_t first, std::int64_t end) {
    MetricsLog log({.folder = dir.path(), .tensorboard = false, .first_step = first});
    for (std::int64_t step = first; step < end; ++step) log.write(step, {{"loss", 1.0}});
  };
  write(0, 5);
  write(3, 5);
  EXPECT_THAT(steps_of(dir), ElementsAre(0, 1, 2, 3, 4));
  // What a crash of the machine leaves of the last line.
  dir.write("metrics.jsonl", test::read_all(dir / "metrics.jsonl") + R"({"step":5,"ti)");
  write(5, 7);
  EXPECT_THAT(steps_of(dir), ElementsAre(0, 1, 2, 3, 4, 5, 6));
  write(0, 2);
  EXPECT_THAT(steps_of(dir), ElementsAre(0, 1));
}

TEST(Metrics, WhatCannotBeWritten) {
  const TempDir dir;
  dir.write("metrics.jsonl", "{\"step\":1}\nmy diary\n");
  EXPECT_THAT(error_text([&] { MetricsLog({.folder = dir.path(), .first_step = 1}); }),
              AllOf(HasSubstr("[metrics]"), HasSubstr("metrics.jsonl: line 2 is not a step's line")));
  EXPECT_EQ(test::read_all(dir / "metrics.jsonl"), "{\"step\":1}\nmy diary\n");
  const auto file = dir.write("file", "");
  EXPECT_THAT(error_text([&] { MetricsLog({.folder = file / "x"}); }), HasSubstr("cannot be made"));
}

TEST(Metrics, FilesOfOneSecondGetDifferentNames) {
  const TempDir dir;
  const EventFile a(dir.path(), 1700000000, 0), b(dir.path(), 1700000000, 0);
  EXPECT_EQ(a.path().filename(), "events.out.tfevents.1700000000.0");
  EXPECT_EQ(b.path().filename(), "events.out.tfevents.1700000000.1");
}

// Whole files are read by tests/oracle/test_train_data.py.
TEST(Metrics, RecordsHaveLengthAndChecksums) {
  const std::string record = tf_record("123456789");
  ASSERT_EQ(record.size(), 8 + 4 + 9 + 4U);
  EXPECT_EQ(record.substr(0, 8), std::string("\x09\0\0\0\0\0\0\0", 8));
  // CRC-32C of "123456789" is 0xE3069283 (RFC 3720); masked: rotated right by 15, plus 0xA282EAD8.
  const std::uint32_t crc = 0xE3069283U, masked = ((crc >> 15) | (crc << 17)) + 0xA282EAD8U;
  std::string expected;
  for (int i = 0; i < 4; ++i) expected += static_cast<char>(masked >> (8 * i) & 0xFF);
  EXPECT_EQ(record.substr(21), expected);
}

}  // namespace
}  // namespace tetrad::train

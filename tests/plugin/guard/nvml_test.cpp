// guard-nvml against a fake library that plays what drivers do: normal, not supported, lying, lost, reused
// pids.
#include "guard_host.h"
#include "guard_nvml.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <random>

#include "support/temp_dir.h"

namespace tetrad::guard_nvml {
namespace {

using testing::HasSubstr;
constexpr std::uint64_t mib = 1 << 20;

class FakeNvml : public testing::Test {
 protected:
  FakeNvml() { ::setenv("FAKE_NVML_FILE", file_.c_str(), 1); }
  void play(const std::string& script) const { std::ofstream(file_) << script; }
  static Options options() { return Options({{"library", std::string(FAKE_NVML_LIBRARY)}}); }
  GuardSample probe_and_sample(const std::string& script) {
    play(script);
    sensor_ = std::make_unique<GuardNvml>(options());
    const Status status = sensor_->probe(evidence_);
    EXPECT_TRUE(status.ok()) << status.message;
    return sample();
  }
  GuardSample sample() {
    GuardSample sample;
    const Status status = sensor_->sample({}, sample);
    EXPECT_TRUE(status.ok()) << status.message;
    return sample;
  }
  test::TempDir folder_;
  std::string file_ = (folder_.path() / "script").string();
  std::string evidence_;
  std::unique_ptr<GuardNvml> sensor_;
};

TEST_F(FakeNvml, WordsForNotAvailableAreNoNumbers) {
  // The device's own memory is unknown too, so nothing bounds the rows but sense.
  const GuardSample sample =
      probe_and_sample("row 5 0\nrow 6 na\nrow 7 18446744073709551614\nrow 8 1048576\n");
  ASSERT_EQ(sample.devices.size(), 1U);
  const GuardDevice& device = sample.devices[0];
  ASSERT_EQ(device.rows.size(), 3U);
  EXPECT_EQ(device.rows_dropped, 1U);
  EXPECT_FALSE(device.rows[0].bytes.has_value()) << "0 is unknown";
  EXPECT_FALSE(device.rows[1].bytes.has_value());
  EXPECT_EQ(device.rows[2].bytes, mib);
}

TEST_F(FakeNvml, ADiscreteCardTellsMemoryAndRows) {
  const std::string me = std::to_string(::getpid());
  const GuardSample sample = probe_and_sample("memory 8589934592 6442450944\nrow " + me + " 1073741824\n");
  ASSERT_EQ(sample.devices.size(), 1U);
  const GuardDevice& device = sample.devices[0];
  EXPECT_EQ(device.total_bytes, 8192 * mib);
  EXPECT_EQ(device.used_bytes, 2048 * mib);
  EXPECT_FALSE(device.unified);
  ASSERT_TRUE(device.rows_known);
  ASSERT_EQ(device.rows.size(), 1U);
  EXPECT_EQ(device.rows[0].process.pid, ::getpid());
  EXPECT_GT(device.rows[0].process.start_ticks, 0U) << "a number alone is no process";
  EXPECT_EQ(device.rows[0].bytes, 1024 * mib);
  EXPECT_EQ(sample.problem, "");
  EXPECT_THAT(evidence_, HasSubstr("driver 999.1; Fake GPU: memory and process rows"));
}

TEST_F(FakeNvml, UnifiedMemoryIsToldByRowsWithoutATotal) {
  GuardSample sample = probe_and_sample("name NVIDIA GB10\nrow 1 5368709120\n");
  EXPECT_TRUE(sample.devices[0].unified);
  EXPECT_FALSE(sample.devices[0].total_bytes.has_value());
  EXPECT_TRUE(sample.devices[0].rows_known);
  sample = probe_and_sample("name Some GPU\nats\nrow 1 5368709120\n");
  EXPECT_TRUE(sample.devices[0].unified) << "shared address translation";
  sample = probe_and_sample("name Some GPU\nrow 1 5368709120\n");
  EXPECT_FALSE(sample.devices[0].unified) << "a discrete card without figures is blind, not unified";
  sample = probe_and_sample("name NVIDIA GB10\nmemory 8522825728 8522825728\nrow 1 1\n");
  EXPECT_FALSE(sample.devices[0].total_bytes.has_value()) << "8,128 MiB is not this machine's memory";
  sample = probe_and_sample("name NVIDIA GB10\nrows_rc 3\n");
  EXPECT_FALSE(sample.devices[0].unified);
  EXPECT_THAT(evidence_, HasSubstr("blind"));
}

TEST_F(FakeNvml, WhatIsNotAvailableIsUnknownNeverZeroOrHuge) {
  const GuardSample sample = probe_and_sample("memory 1000000000 500000000\nrow 17 na\n");
  ASSERT_EQ(sample.devices[0].rows.size(), 1U);
  EXPECT_FALSE(sample.devices[0].rows[0].bytes.has_value());
}

TEST_F(FakeNvml, RowsThatMakeNoSenseAreDroppedAndSaid) {
  const GuardSample sample =
      probe_and_sample("memory 1000000000 500000000\nrow 0 5\nrow 12 2000000000\nrow 99999999 1\nrow 13 7\n");
  ASSERT_EQ(sample.devices[0].rows.size(), 1U);
  EXPECT_EQ(sample.devices[0].rows[0].process.pid, 13);
  EXPECT_EQ(sample.devices[0].rows_dropped, 3U);
  EXPECT_THAT(sample.problem, HasSubstr("3 process rows make no sense"));
}

TEST_F(FakeNvml, EveryRowSizeOfEveryDriverIsUnderstood) {
  for (const char* stride : {"16", "24", "32"}) {
    std::string script = "memory 8589934592 0\nstride " + std::string(stride) + "\n";
    for (int i = 1; i <= 100; ++i)
      script += "row " + std::to_string(i) + " " + std::to_string(i * 1000) + "\n";
    const GuardSample sample = probe_and_sample(script);
    ASSERT_EQ(sample.devices[0].rows.size(), 100U) << stride;
    for (int i = 1; i <= 100; ++i) {
      EXPECT_EQ(sample.devices[0].rows[static_cast<std::size_t>(i - 1)].process.pid, i);
      EXPECT_EQ(sample.devices[0].rows[static_cast<std::size_t>(i - 1)].bytes, i * 1000U) << stride;
    }
  }
}

TEST_F(FakeNvml, ALostDeviceIsSaidAndItsMemoryUnknown) {
  probe_and_sample("memory 1000000000 500000000\n");
  play("memory_rc 15\nrows_rc 15\n");
  const GuardSample lost = sample();
  EXPECT_TRUE(lost.device_lost);
  EXPECT_FALSE(lost.devices[0].used_bytes.has_value());
  EXPECT_THAT(lost.problem, HasSubstr("device lost"));
  play("memory 1000000000 500000000\n");
  EXPECT_FALSE(sample().device_lost) << "it came back";
}

TEST_F(FakeNvml, RowsAreReadTwiceASecondAtMost) {
  probe_and_sample("memory 8589934592 8589934592\n");
  play("memory 8589934592 4294967296\nrow 5 77\n");
  const GuardSample soon = sample();
  EXPECT_EQ(soon.devices[0].used_bytes, 4096 * mib) << "the total is read every time";
  EXPECT_TRUE(soon.devices[0].rows.empty());
  EXPECT_EQ(soon.devices[0].used_at_rows_bytes, 0U);
  ::usleep(600'000);
  EXPECT_EQ(sample().devices[0].rows.size(), 1U);
}

TEST_F(FakeNvml, WithoutADriverItIsUnsupported) {
  GuardNvml sensor(Options({{"library", std::string("/nowhere/libnvidia-ml.so.1")}}));
  std::string evidence;
  const Status status = sensor.probe(evidence);
  EXPECT_EQ(status.code, StatusCode::unsupported);
  EXPECT_THAT(status.message, HasSubstr("no NVIDIA driver"));
  play("init_rc 18\n");
  GuardNvml mismatched(options());
  EXPECT_THAT(mismatched.probe(evidence).message, HasSubstr("different versions"));
}

// Whatever a library writes, a row is a plausible one or it is dropped.
TEST(ParseRows, RandomBytesNeverGiveAnImplausibleRow) {
  std::mt19937 random(11);
  for (int round = 0; round < 20000; ++round) {
    std::vector<unsigned char> buffer(64 * 32, 0xA5);
    const unsigned count = random() % 64;
    const std::size_t written = random() % (buffer.size() + 1);
    for (std::size_t i = 0; i < written; ++i)
      buffer[i] = static_cast<unsigned char>(random() % 4 == 0 ? random() : 0);
    const Rows rows = parse_rows(buffer, 0xA5, count, 8192 * mib);
    ASSERT_LE(rows.rows.size() + rows.dropped, count);
    for (const Row& row : rows.rows) {
      ASSERT_GT(row.pid, 0U);
      ASSERT_LE(row.pid, 1U << 22);
      ASSERT_LE(row.bytes.value_or(0), 8192 * mib);
    }
  }
}

}  // namespace
}  // namespace tetrad::guard_nvml

namespace tetrad::guard_host {
namespace {

constexpr std::uint64_t kib = 1024;

TEST(GuardHost, ReadsTheKernelsTexts) {
  EXPECT_EQ(
      parse_smaps_rollup("5-7 ---p 0 0:0 0 [rollup]\nRss:    1712 kB\nPss:  371 kB\nPss_Anon:   116 kB\n"
                         "Pss_File:  255 kB\nPss_Shmem:   4 kB\n"),
      120 * kib);
  EXPECT_FALSE(parse_smaps_rollup("Rss: 5 kB\nPss: 5 kB\n").has_value()) << "before Linux 5.9";
  EXPECT_FALSE(parse_smaps_rollup("").has_value());
  EXPECT_EQ(parse_pressure("some avg10=1.00 avg60=0.00 avg300=0.00 total=5\nfull avg10=2.50 avg60=0 avg300=0 "
                           "total=3\n"),
            2.5);
  EXPECT_FALSE(parse_pressure("some avg10=1.00\n").has_value());
}

TEST(GuardHost, SharesOfARealProcessComeOnDemandOnly) {
  GuardHost sensor;
  std::string evidence;
  ASSERT_TRUE(sensor.probe(evidence).ok());
  std::ifstream in("/proc/self/stat");
  const std::string stat((std::istreambuf_iterator<char>(in)), {});
  std::istringstream words(stat.substr(stat.rfind(')') + 1));
  std::string word;
  for (int field = 3; field <= 22; ++field) words >> word;
  const GuardProcess tree[] = {{::getpid(), std::stoull(word)}};
  GuardSample sample;
  ASSERT_TRUE(sensor.sample({tree, false}, sample).ok());
  EXPECT_TRUE(sample.shares.empty());
  std::vector<char> held(50 << 20, 'x');
  ASSERT_TRUE(sensor.sample({tree, true}, sample).ok());
  if (evidence.find("count once") == std::string::npos) GTEST_SKIP() << evidence;
  ASSERT_EQ(sample.shares.size(), 1U);
  EXPECT_GE(sample.shares[0].proportional_bytes, held.size());
  EXPECT_GT(sample.shares_ns, 0);
}

}  // namespace
}  // namespace tetrad::guard_host

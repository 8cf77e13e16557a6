// Parsers of /proc and of cgroup files on the texts of several kernels, and on broken ones.
#include "guard/proc.h"
#include "guard/cgroup.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <random>

namespace tetrad::guard {
namespace {

TEST(MemInfo, ReadsTotalAndAvailable) {
  const MemInfo info = parse_meminfo("MemTotal:       24684084 kB\nMemFree:  1 kB\nMemAvailable:   7 kB\n");
  EXPECT_EQ(info.total_bytes, 24684084ULL * 1024);
  EXPECT_EQ(info.available_bytes, 7168U);
}

TEST(MemInfo, MissingOrBrokenFieldsAreUnknown) {
  for (const char* text :
       {"", "MemTotal:", "MemTotal: kB", "MemTotal: 12", "MemTotal: 12 MB\n", "MemTotal: -4 kB",
        "MemTotal: 99999999999999999999 kB", "xMemTotal: 5 kB", "MemTotalx: 5 kB"}) {
    EXPECT_FALSE(parse_meminfo(text).total_bytes.has_value()) << text;
  }
}

TEST(MemInfo, ThisMachineHasSome) {
  const MemInfo info = read_meminfo();
  ASSERT_TRUE(info.total_bytes.has_value());
  EXPECT_LE(info.available_bytes.value_or(0), *info.total_bytes);
}

TEST(ProcStat, NamesMayHoldAnything) {
  const std::string tail = " S 42 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 9 0 123456 1 2 3\n";
  for (const char* name : {"host", "a b", "a) R 1 2 3", "((", "))", "new\nline", ""}) {
    const auto stat = parse_stat("77 (" + std::string(name) + ")" + tail);
    ASSERT_TRUE(stat.has_value()) << name;
    EXPECT_EQ(stat->pid, 77);
    EXPECT_EQ(stat->state, 'S');
    EXPECT_EQ(stat->parent, 42);
    EXPECT_EQ(stat->threads, 9);
    EXPECT_EQ(stat->start_ticks, 123456U);
  }
}

TEST(ProcStat, EveryTruncationIsRefused) {
  const std::string text = "77 (x) S 42 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 9 0 123456 1 2 3\n";
  const std::size_t needed = text.find("123456");
  for (std::size_t size = 0; size <= needed; ++size)
    EXPECT_FALSE(parse_stat(text.substr(0, size)).has_value());
}

TEST(ProcStat, RandomTextNeverDoesMoreThanFail) {
  std::mt19937 random(3);
  const std::string good = "77 (x) S 42 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 9 0 123456 1 2 3\n";
  for (int round = 0; round < 50000; ++round) {
    std::string text = good;
    for (int n = 0; n < 4; ++n) text[random() % text.size()] = static_cast<char>(random());
    parse_stat(text);
    parse_status(text);
    parse_meminfo(text);
    parse_cgroup(text);
  }
}

TEST(ProcStat, ReadsOurselves) {
  const auto stat = read_stat(::getpid());
  ASSERT_TRUE(stat.has_value());
  EXPECT_EQ(stat->pid, ::getpid());
  EXPECT_EQ(stat->parent, ::getppid());
  EXPECT_FALSE(read_stat(0x7ffffff0).has_value());
}

TEST(Status, AnonymousPlusSharedAndNotFiles) {
  const auto memory = parse_status(
      "Name:\tx\nState:\tR (running)\nVmRSS:\t900 kB\nRssAnon:\t 100 kB\nRssFile:\t700 kB\nRssShmem:\t 50 "
      "kB\n");
  EXPECT_EQ(memory.reading, Reading::value);
  EXPECT_EQ(memory.bytes, 150U * 1024);
}

TEST(Status, ADepartingProcessIsGoneAndAnOldKernelIsUnknown) {
  EXPECT_EQ(parse_status("Name:\tx\nState:\tZ (zombie)\nThreads:\t1\n").reading, Reading::gone);
  EXPECT_EQ(parse_status("Name:\tx\nState:\tR\nVmRSS:\t 900 kB\nThreads:\t1\n").reading, Reading::unknown);
  EXPECT_EQ(parse_status("Name:\tx\nState:\tR\nVmRSS:\t9 kB\nRssAnon:\tx kB\nRssShmem:\t1 kB\n").reading,
            Reading::unknown);
  EXPECT_EQ(parse_status("").reading, Reading::unknown);
}

TEST(Status, ReadsOurselvesAndKnowsWhoIsGone) {
  const ProcessMemory memory = read_process_memory(::getpid());
  EXPECT_EQ(memory.reading, Reading::value);
  EXPECT_GT(memory.bytes, 0U);
  EXPECT_EQ(read_process_memory(0x7ffffff0).reading, Reading::gone);
}

TEST(Cgroup, FindsTheMemoryControllersGroup) {
  EXPECT_EQ(parse_cgroup("0::/user.slice/a\n")->path, "/user.slice/a");
  EXPECT_TRUE(parse_cgroup("0::/user.slice/a\n")->unified);
  const auto hybrid = parse_cgroup("9:name=systemd:/\n4:memory:/one\n1:cpu,cpuacct:/\n0::/two");
  EXPECT_EQ(hybrid->path, "/one");
  EXPECT_FALSE(hybrid->unified);
  EXPECT_EQ(parse_cgroup("5:cpu,memory:/x:y\n")->path, "/x:y");
  EXPECT_FALSE(parse_cgroup("").has_value());
  EXPECT_FALSE(parse_cgroup("5:memoryx:/x\n").has_value());
  EXPECT_FALSE(parse_cgroup("nonsense\n::\n0::relative\n").has_value());
}

class CgroupFiles : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "tetrad-cgroup-XXXXXX";
    root_ = ::mkdtemp(name.data());
  }
  void TearDown() override { std::filesystem::remove_all(root_); }
  void write(const std::string& file, const std::string& text) {
    std::filesystem::create_directories((root_ / file).parent_path());
    std::ofstream(root_ / file) << text;
  }
  std::filesystem::path root_;
};

TEST_F(CgroupFiles, TheSmallestLimitOnTheWayUpCounts) {
  write("a/b/c/memory.max", "max\n");
  write("a/b/memory.max", "5000000\n");
  write("a/memory.max", "9000000\n");
  EXPECT_EQ(cgroup_memory_limit(root_, "0::/a/b/c\n"), 5000000U);
  EXPECT_EQ(cgroup_memory_limit(root_, "0::/a\n"), 9000000U);
  EXPECT_FALSE(cgroup_memory_limit(root_, "0::/none\n").has_value());
  write("memory.max", "777\n");  // a container sees its own group as the root
  EXPECT_EQ(cgroup_memory_limit(root_, "0::/\n"), 777U);
  EXPECT_EQ(cgroup_memory_limit(root_, "0::/not/mounted/here\n"), 777U);
}

TEST_F(CgroupFiles, VersionOneAndItsWordForNone) {
  write("memory/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_FALSE(cgroup_memory_limit(root_, "4:memory:/x\n").has_value());
  write("memory/x/memory.limit_in_bytes", "12345\n");
  EXPECT_EQ(cgroup_memory_limit(root_, "4:memory:/x\n"), 12345U);
}

}  // namespace
}  // namespace tetrad::guard

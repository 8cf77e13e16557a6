#include "io/memory.h"

#include <gmock/gmock.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

namespace tetrad::io {
namespace {

constexpr std::uint64_t mib = 1 << 20;

TEST(Memory, parses_a_status_file) {
  const auto memory = parse_host_memory(
      "Name:\tRssAnon: 1 kB\nVmHWM:\t    5000 kB\nVmRSS:\t4000 kB\nRssAnon:\t    1024 kB\nRssFile:\t 512 kB\n"
      "RssShmem:\t       3 kB\nVmSwap:\t 7 kB\n");
  ASSERT_TRUE(memory);
  EXPECT_EQ(memory->rss_anon, 1024 * 1024u);
  EXPECT_EQ(memory->rss_file, 512 * 1024u);
  EXPECT_EQ(memory->rss_shmem, 3 * 1024u);
  EXPECT_EQ(memory->swap, 7 * 1024u);
  EXPECT_EQ(memory->peak_rss, 5000 * 1024u);
  EXPECT_EQ(memory->host(), 1027 * 1024u);
}

TEST(Memory, unknown_is_not_zero) {
  EXPECT_FALSE(parse_host_memory(""));
  EXPECT_FALSE(parse_host_memory("VmHWM: 1 kB\nRssAnon: 1 kB\nRssFile: 1 kB\n"));  // no shared pages
  EXPECT_FALSE(parse_host_memory("VmHWM: 1 kB\nRssAnon: x kB\nRssFile: 1 kB\nRssShmem: 1 kB\n"));
  EXPECT_FALSE(parse_host_memory("VmHWM: 1 kB\nRssAnon: 1 MB\nRssFile: 1 kB\nRssShmem: 1 kB\n"));
  EXPECT_FALSE(parse_host_memory("VmHWM: 1 kB\nRssAnon:"));
  EXPECT_FALSE(host_memory(-5));
}

// 64 MiB of each kind shows up where it belongs; the margin is for what the process does besides.
TEST(Memory, sees_anonymous_and_shared_pages) {
  const auto before = host_memory();
  ASSERT_TRUE(before);
  const std::size_t size = 64 * mib;
  void* anonymous = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  void* shared = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(anonymous, MAP_FAILED);
  ASSERT_NE(shared, MAP_FAILED);
  std::memset(anonymous, 1, size);
  std::memset(shared, 1, size);
  const auto after = host_memory(::getpid());
  ASSERT_TRUE(after);
  EXPECT_NEAR(static_cast<double>(after->rss_anon - before->rss_anon), static_cast<double>(size), 8.0 * mib);
  EXPECT_NEAR(static_cast<double>(after->rss_shmem - before->rss_shmem), static_cast<double>(size),
              8.0 * mib);
  EXPECT_GE(after->peak_rss, 128 * mib);
  ::munmap(anonymous, size);
  ::munmap(shared, size);
}

TEST(Memory, system) {
  const auto memory = system_memory();
  ASSERT_TRUE(memory);
  EXPECT_GT(memory->total, 64 * mib);
  EXPECT_LE(memory->available, memory->total);
}

TEST(Memory, formats_for_people) {
  EXPECT_EQ(format_gib(0), "0.000 GiB");
  EXPECT_EQ(format_gib(269'000'000), "0.251 GiB");
  EXPECT_EQ(format_gib(std::uint64_t{1} << 30), "1.00 GiB");
  EXPECT_EQ(format_gib(std::uint64_t{44} << 30), "44.0 GiB");
  EXPECT_EQ(format_gib(std::uint64_t{128} << 30), "128 GiB");
  EXPECT_EQ(format_gib(1073741823), "1.00 GiB");
}

}  // namespace
}  // namespace tetrad::io

#include "io/atomic_file.h"

#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>

#include "support/error_text.h"
#include "support/temp_dir.h"

namespace tetrad::io {
namespace {

namespace fs = std::filesystem;
using test::error_text;
using test::read_all;
using test::TempDir;
using testing::HasSubstr;

std::ptrdiff_t entries(const fs::path& dir) {
  return std::distance(fs::directory_iterator(dir), {});
}

TEST(AtomicFile, replaces_the_target_only_at_commit) {
  TempDir dir;
  const auto target = dir.write("f", "old");
  {
    AtomicFile file(target);
    const std::string_view text = "newer";
    file.write_at(0, std::as_bytes(std::span(text)));
    EXPECT_EQ(read_all(target), "old");
    file.commit();
    EXPECT_EQ(read_all(target), "newer");
  }
  EXPECT_EQ(read_all(target), "newer");
  EXPECT_EQ(entries(dir.path()), 1);
}

TEST(AtomicFile, without_commit_nothing_is_left) {
  TempDir dir;
  {
    AtomicFile file(dir / "f");
    file.resize(1 << 20);
    EXPECT_EQ(entries(dir.path()), 1);
  }
  EXPECT_TRUE(fs::is_empty(dir.path()));
}

TEST(AtomicFile, a_relative_name_without_a_folder) {
  TempDir dir;
  const auto before = fs::current_path();
  fs::current_path(dir.path());
  write_file("f", "text");
  fs::current_path(before);
  EXPECT_EQ(read_all(dir / "f"), "text");
}

TEST(AtomicFile, follows_links_and_refuses_devices) {
  TempDir dir;
  dir.write("real", "old");
  fs::create_symlink("real", dir / "link");
  write_file(dir / "link", "new");
  EXPECT_EQ(read_all(dir / "real"), "new");
  EXPECT_TRUE(fs::is_symlink(dir / "link"));
  fs::create_symlink("nowhere", dir / "dangling");
  EXPECT_THAT(error_text([&] { write_file(dir / "dangling", "x"); }), HasSubstr("leads nowhere"));
  EXPECT_THAT(error_text([&] { write_file("/dev/null", "x"); }), HasSubstr("not a regular file"));
  EXPECT_THAT(error_text([&] { write_file(dir.path(), "x"); }), HasSubstr("not a regular file"));
  ASSERT_EQ(::mkfifo((dir / "pipe").c_str(), 0600), 0);
  EXPECT_THAT(error_text([&] { write_file(dir / "pipe", "x"); }), HasSubstr("not a regular file"));
  EXPECT_THAT(error_text([&] { write_file(dir / "none" / "f", "x"); }),
              HasSubstr("cannot be written: No such file"));
}

// A disk that is full in the middle of a write, played by a limit on file sizes.
TEST(AtomicFile, a_failed_write_leaves_the_old_file) {
  TempDir dir;
  const auto target = dir.write("f", "old");
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit tight{5000, before.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &tight);
  const std::string text = error_text([&] { write_file(target, std::string(10000, 'x')); });
  const std::string reserve = error_text([&] { AtomicFile(target).resize(10000); });
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_THAT(text, HasSubstr("writing failed: File too large; nothing was replaced"));
  EXPECT_THAT(reserve, HasSubstr("failed: File too large"));
  EXPECT_EQ(read_all(target), "old");
  EXPECT_EQ(entries(dir.path()), 1);
}

}  // namespace
}  // namespace tetrad::io

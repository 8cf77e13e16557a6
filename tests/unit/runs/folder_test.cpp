// The folder of a run: names, locks, failures that leave nothing behind.
#include "runs/folder.h"
#include "runs/store.h"
#include "support/error_text.h"
#include "support/temp_dir.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <set>

namespace tetrad::runs {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using test::error_text;
using test::read_all;
using test::TempDir;
using testing::AllOf;
using testing::HasSubstr;

std::set<std::string> names_in(const fs::path& folder) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.insert(entry.path().filename().string());
  return names;
}

const FolderContents contents = {"k: 1\n", {{"x", 1}}};

TEST(RunFolder, NamesComeFromTheConfigFile) {
  EXPECT_EQ(run_name("configs/fp2-model.yaml"), "fp2-model");
  EXPECT_EQ(run_name("a b/c d\u00e9.yaml"), "c-d--");
  EXPECT_EQ(run_name(""), "run");
  EXPECT_EQ(run_name(std::string(300, 'x') + ".yaml").size(), 100U);
}

TEST(RunFolder, StampsAreUtc) {
  EXPECT_EQ(utc_stamp(0), "19700101T000000Z");
  EXPECT_EQ(utc_stamp(1764000000), "20251124T160000Z");
}

TEST(RunFolder, FoldersOfOneSecondGetNumbers) {
  const TempDir place;
  std::set<std::string> names;
  for (int i = 0; i < 3; ++i) {
    const Folder made = Folder::create(place / "a" / "b", "c", 0, contents);
    EXPECT_TRUE(made.path().is_absolute());
    names.insert(made.path().filename().string());
    EXPECT_EQ(names_in(made.path()), (std::set<std::string>{"config.yaml", "config.json"}))
        << "no temporary file is left";
  }
  EXPECT_EQ(names,
            (std::set<std::string>{"19700101T000000Z-c", "19700101T000000Z-c-2", "19700101T000000Z-c-3"}));
}

TEST(RunFolder, AnImpossibleFolderIsNamed) {
  const TempDir place;
  const fs::path file = place.write("file", "x");
  EXPECT_THAT(error_text([&] { Folder::create(file, "c", 0, contents); }),
              AllOf(HasSubstr("[run] cannot store this run in '" + file.string()),
                    HasSubstr("nothing was started; set run.dir to another folder")));
  EXPECT_THAT(error_text([&] { Folder::create(file / "deep" / "er", "c", 0, contents); }),
              HasSubstr("[run] cannot store this run in"));
  EXPECT_THAT(error_text([&] { Folder::create("/proc/nothing", "c", 0, contents); }),
              HasSubstr("nothing was started"));
  EXPECT_EQ(names_in(place.path()), std::set<std::string>{"file"});
}

// In a child, because the limit holds for the whole process: writes fail as on a full disk.
TEST(RunFolder, AFailingWriteLeavesNothingBehind) {
  const TempDir place;
  fs::create_directory(place / "there");
  for (const char* parent : {"there", "new/deep"}) {
    const pid_t child = ::fork();
    if (child == 0) {
      ::signal(SIGXFSZ, SIG_IGN);
      const rlimit nothing{0, 0};
      ::setrlimit(RLIMIT_FSIZE, &nothing);
      const std::string error = error_text([&] { Folder::create(place / parent, "c", 0, contents); });
      ::_exit(error.find("cannot store this run") != std::string::npos &&
                      error.find("File too large") != std::string::npos
                  ? 0
                  : 1);
    }
    int status = -1;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0) << parent;
  }
  EXPECT_EQ(names_in(place.path()), std::set<std::string>{"there"});
  EXPECT_TRUE(fs::is_empty(place / "there")) << "a folder that was there stays";
}

// A file system of its own, seen by a child alone. Exit codes: 0 as expected, 1 not so, 77 not permitted
// here.
int on_small_disk(const fs::path& place, unsigned long flags, const char* options, const char* wanted) {
  const pid_t child = ::fork();
  if (child == 0) {
    if (::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("none", place.c_str(), "tmpfs", flags, options) != 0) {
      ::_exit(77);
    }
    const std::string error = error_text([&] { Folder::create(place / "runs", "c", 0, contents); });
    const bool as_wanted = error.find("cannot store this run") != std::string::npos &&
                           error.find(wanted) != std::string::npos && fs::is_empty(place);
    ::_exit(as_wanted ? 0 : 1);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

TEST(RunFolder, AFullOrReadOnlyDiskIsSaidBeforeTheStart) {
  const TempDir place;
  const int full =
      on_small_disk(place.path(), 0, "size=64k", "the disk is full (64 KiB are free, a run needs 1024)");
  if (full == 77) GTEST_SKIP() << "file systems cannot be mounted here";
  EXPECT_EQ(full, 0);
  EXPECT_EQ(on_small_disk(place.path(), MS_RDONLY, "size=4m", "Read-only file system"), 0);
  EXPECT_EQ(on_small_disk(place.path(), 0, "size=4m,nr_inodes=3", "No space left on device"), 0);
}

TEST(RunFolder, ItIsRunningAsLongAsItIsHeld) {
  const TempDir place;
  fs::path folder;
  {
    Folder held = Folder::create(place.path(), "c", 0, contents);
    folder = held.path();
    EXPECT_TRUE(is_running(folder));
    const Folder moved = std::move(held);
    EXPECT_TRUE(is_running(folder));
    const pid_t child = ::fork();  // a program that it starts does not hold the lock
    if (child == 0) {
      ::execl("/bin/sleep", "sleep", "30", nullptr);
      ::_exit(1);
    }
    ::usleep(100'000);
    EXPECT_TRUE(is_running(folder));
    { const Folder last = Folder::create(place.path(), "d", 0, contents); }
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
  }
  EXPECT_FALSE(is_running(folder));
  EXPECT_FALSE(is_running(place / "absent"));
}

TEST(RunFolder, TheEndIsWrittenFromWhatIsThere) {
  const TempDir place;
  const Folder folder = Folder::create(place.path(), "c", 0, {"k: 1\n", {{"command", "chat"}}});
  test::TempDir elsewhere;
  std::ofstream(folder.path() / "record.json") << R"({"turns": [
    {"turn": 1, "prompt": "hi", "text": "yes", "decoded_tokens": 30, "decode_s": 1.5},
    {"turn": 2, "prompt": "go", "text": "no", "decoded_tokens": 10, "decode_s": 0.5}]})";
  Ending ending;
  ending.state = "guard";
  ending.exit_code = 124;
  ending.reason = "[guard] limit exceeded";
  ending.wall_seconds = 2.5;
  ending.guard = {{"peak_tree_bytes", 1 << 30}};
  folder.finish(ending, 60, Language::english);
  const json status = json::parse(read_all(folder.path() / "status.json"));
  EXPECT_EQ(status, (json{{"state", "guard"},
                          {"exit_code", 124},
                          {"reason", "[guard] limit exceeded"},
                          {"wall_s", 2.5},
                          {"guard", {{"peak_tree_bytes", 1 << 30}}},
                          {"ended_utc", "19700101T000100Z"},
                          {"tok_s", 20.0}}));
  EXPECT_THAT(read_all(folder.path() / "summary.md"),
              AllOf(HasSubstr("ended by the memory guard (exit code 124)"), HasSubstr("limit exceeded"),
                    HasSubstr("1.00 GiB"), HasSubstr("20.0 tok/s")));
}

TEST(RunFolder, ABrokenRecordDoesNotHinderTheEnd) {
  const TempDir place;
  for (const char* broken : {"", "{", "[]", "{\"turns\": 3}", "{\"turns\": [1, {\"decode_s\": \"x\"}]}"}) {
    const Folder folder = Folder::create(place.path(), "c", 0, contents);
    std::ofstream(folder.path() / "record.json") << broken;
    EXPECT_EQ(error_text([&] { folder.finish({}, 0, Language::english); }), "no error") << broken;
    EXPECT_THAT(read_all(folder.path() / "summary.md"), HasSubstr("ok (exit code 0)")) << broken;
  }
}

}  // namespace
}  // namespace tetrad::runs

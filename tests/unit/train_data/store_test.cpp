#include "train/checkpoint/store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <csignal>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "support/error_text.h"
#include "support/temp_dir.h"
#include "unit/train_data/checkpoint_content.h"

namespace tetrad::train {
namespace {

namespace fs = std::filesystem;
using test::content_of;
using test::error_text;
using test::TempDir;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::set<std::string> names_in(const fs::path& folder) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.insert(entry.path().filename().string());
  names.erase(".lock");
  return names;
}

std::int64_t latest_step(const fs::path& folder) {
  const auto latest = CheckpointStore::latest_checkpoint(folder);
  if (!latest) return -1;
  const Checkpoint checkpoint = Checkpoint::open(*latest);
  return test::is_whole(checkpoint) ? checkpoint.step() : -2;
}

TEST(CheckpointStore, KeepsTheLastOnes) {
  const TempDir dir;
  CheckpointStore store({.folder = dir / "c", .keep_last = 3});
  EXPECT_FALSE(store.latest());
  for (const std::int64_t step : {0, 1, 5, 20, 123456789}) {
    const fs::path saved = store.save(content_of(step));
    EXPECT_EQ(store.latest(), saved);
    EXPECT_EQ(latest_step(dir / "c"), step);
  }
  EXPECT_EQ(names_in(dir / "c"),
            (std::set<std::string>{"latest", "step-00000005", "step-00000020", "step-123456789"}));
  EXPECT_EQ(CheckpointStore::find(dir / "c"), dir / "c/step-123456789");
  EXPECT_EQ(CheckpointStore::find(dir / "c/step-00000005"), dir / "c/step-00000005");
  EXPECT_THAT(error_text([&] { CheckpointStore::find(dir.path()); }), HasSubstr("neither a checkpoint"));
}

TEST(CheckpointStore, ARunThatWasTakenBackReplacesItsOldSteps) {
  const TempDir dir;
  CheckpointStore store({.folder = dir / "c", .keep_last = 2});
  for (const std::int64_t step : {10, 20, 30}) store.save(content_of(step));
  auto again = content_of(20);
  again.state["again"] = true;
  store.save(again);
  EXPECT_EQ(names_in(dir / "c"), (std::set<std::string>{"latest", "step-00000020", "step-00000030"}));
  EXPECT_TRUE(Checkpoint::open(*store.latest()).state().contains("again"));
  EXPECT_EQ(latest_step(dir / "c"), 20);
  store.save(content_of(30));
  EXPECT_EQ(latest_step(dir / "c"), 30);
  store.save(content_of(40));
  EXPECT_EQ(names_in(dir / "c"), (std::set<std::string>{"latest", "step-00000030", "step-00000040"}));
}

TEST(CheckpointStore, OneWriterAtATime) {
  const TempDir dir;
  {
    const CheckpointStore store({.folder = dir / "c"});
    EXPECT_THAT(error_text([&] { CheckpointStore({.folder = dir / "c"}); }),
                HasSubstr("another run is saving"));
  }
  CheckpointStore({.folder = dir / "c"});
  EXPECT_THAT(error_text([&] { CheckpointStore({.folder = dir / "c", .keep_last = 0}); }),
              HasSubstr("keep_last 0"));
  EXPECT_THAT(error_text([&] { CheckpointStore({.folder = dir.write("file", "x")}); }),
              HasSubstr("[checkpoint]"));
}

TEST(CheckpointStore, ContentThatCannotBeSavedLeavesTheLastOne) {
  const TempDir dir;
  CheckpointStore store({.folder = dir / "c"});
  store.save(content_of(1));
  const auto refused = [&](auto change) {
    auto content = content_of(2);
    change(content);
    const std::string error = error_text([&] { store.save(content); });
    EXPECT_EQ(latest_step(dir / "c"), 1);
    EXPECT_EQ(names_in(dir / "c"), (std::set<std::string>{"latest", "step-00000001"}));
    return error;
  };
  EXPECT_THAT(refused([](auto& c) { c.step = -1; }), HasSubstr("step -1 is negative"));
  EXPECT_THAT(refused([](auto& c) { c.state = 3; }), HasSubstr("not an object"));
  EXPECT_THAT(refused([](auto& c) { c.state["deep"] = {{"er", {1, NAN}}}; }), HasSubstr("not finite"));
  EXPECT_THAT(refused([](auto& c) { c.tensors[0].group = "../x"; }), HasSubstr("no name of a group"));
  EXPECT_THAT(refused([](auto& c) { c.tensors[4].spec.name = "empty"; }), HasSubstr("two tensors 'empty'"));
  EXPECT_THAT(refused([](auto& c) { c.tensors[1].write = [](const ByteSink&) {}; }),
              AllOf(HasSubstr("step 2 could not be saved"), HasSubstr("'a.weight.scales' (0 of 1000 bytes)"),
                    HasSubstr("the last good checkpoint is"), HasSubstr("step-00000001")));
  EXPECT_THAT(refused([](auto& c) {
                c.tensors[1].write = [](const ByteSink& sink) { sink(test::bytes_of(1, 1, 1001)); };
              }),
              HasSubstr("room for 1000 bytes"));
  EXPECT_THAT(
      refused([](auto& c) { c.tensors[1].write = [](const ByteSink&) { throw Error("device lost"); }; }),
      HasSubstr("could not be saved: device lost"));
}

// All names that a save passes, in order.
std::vector<std::string> boundaries(const fs::path& folder, std::int64_t step) {
  std::vector<std::string> result;
  CheckpointStore(
      {.folder = folder, .at_boundary = [&](std::string_view what) { result.emplace_back(what); }})
      .save(content_of(step));
  return result;
}

// A disk that gives back other bytes than it was given: the save fails, the last good one stays.
TEST(CheckpointStore, WhatWasWrittenIsReadBack) {
  for (const char* name : {"weights.safetensors", "optimizer.safetensors", "state.json", "manifest.json"}) {
    const TempDir dir;
    CheckpointStore({.folder = dir / "c"}).save(content_of(1));
    CheckpointStore store({.folder = dir / "c", .at_boundary = [&](std::string_view what) {
                             if (what != "verify") return;
                             const fs::path file = dir / "c/step-00000002.tmp" / name;
                             std::string bytes = test::read_all(file);
                             bytes[bytes.size() - 10] = static_cast<char>(bytes[bytes.size() - 10] ^ 4);
                             dir.write(file, bytes);
                           }});
    EXPECT_THAT(error_text([&] { store.save(content_of(2)); }),
                AllOf(HasSubstr("step 2 could not be saved"), HasSubstr("step-00000001")))
        << name;
    EXPECT_EQ(latest_step(dir / "c"), 1);
  }
}

// The process dies, or an error comes up, at each boundary: the latest checkpoint is whole, and the next save
// works and leaves nothing behind.
TEST(CheckpointStore, InterruptedAtEveryBoundary) {
  std::vector<std::string> all;
  {
    const TempDir dir;
    for (const std::int64_t step : {10, 20}) boundaries(dir / "c", step);
    all = boundaries(dir / "c", 30);
  }
  ASSERT_GE(all.size(), 16U);
  EXPECT_THAT(all, testing::Contains("remove step-00000010"));
  for (const bool dies : {true, false}) {
    for (std::size_t at = 0; at < all.size(); ++at) {
      SCOPED_TRACE(all[at] + (dies ? ", killed" : ", an error"));
      const TempDir dir;
      for (const std::int64_t step : {10, 20}) boundaries(dir / "c", step);
      const auto save = [&] {
        std::size_t passed = 0;
        CheckpointStore store({.folder = dir / "c", .at_boundary = [&](std::string_view) {
                                 if (passed++ != at) return;
                                 if (dies) ::raise(SIGKILL);
                                 throw Error("interrupted");
                               }});
        store.save(content_of(30));
      };
      if (dies) {
        const pid_t child = ::fork();
        if (child == 0) {
          save();
          ::_exit(0);
        }
        int status = 0;
        ASSERT_EQ(::waitpid(child, &status, 0), child);
        ASSERT_TRUE(WIFSIGNALED(status));
      } else {
        EXPECT_THAT(error_text(save), HasSubstr("interrupted"));
      }
      const bool moved =
          at > static_cast<std::size_t>(std::find(all.begin(), all.end(), "move latest") - all.begin());
      EXPECT_EQ(latest_step(dir / "c"), moved ? 30 : 20);
      CheckpointStore store({.folder = dir / "c"});
      store.save(content_of(moved ? 40 : 30));
      EXPECT_EQ(latest_step(dir / "c"), moved ? 40 : 30);
      EXPECT_EQ(names_in(dir / "c").size(), 3U);
    }
  }
}

// Without mercy and at any moment. The full soak is bench/train/kill_soak.
TEST(CheckpointStore, KilledAtRandomMoments) {
  const TempDir dir;
  const fs::path folder = dir / "c";
  std::mt19937 random(5);
  std::int64_t last = -1;
  for (int round = 0; round < 200 && last < 12; ++round) {
    const pid_t child = ::fork();
    if (child == 0) {
      CheckpointStore store({.folder = folder});
      for (std::int64_t step = std::max<std::int64_t>(last, 0);; ++step) store.save(content_of(step));
    }
    std::this_thread::sleep_for(std::chrono::microseconds(1000 + random() % 300000));
    ::kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the child ended by itself";
    const std::int64_t step = latest_step(folder);
    ASSERT_GE(step, last) << "round " << round;
    last = step;
  }
  EXPECT_GE(last, 12);
  CheckpointStore({.folder = folder}).save(content_of(last + 1));
  EXPECT_EQ(names_in(folder).size(), 3U);
}

// Runs `body` in a child; its exit code: 0 as expected, 77 when that cannot be tried here.
template <class Body>
int in_child(Body&& body) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(body());
  int status = -1;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

TEST(CheckpointStore, AFullDiskLeavesTheLastGoodOne) {
  const TempDir dir;
  const int code = in_child([&] {
    if (::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("none", dir.path().c_str(), "tmpfs", 0, "size=120k") != 0) {
      return 77;
    }
    CheckpointStore store({.folder = dir / "c", .keep_last = 5});
    int saved = 0;
    std::string error = "no error";
    for (std::int64_t step = 0; step < 20 && error == "no error"; ++step) {
      error = error_text([&] { store.save(content_of(step)); });
      if (error == "no error") ++saved;
    }
    const bool said = error.find("No space left on device") != std::string::npos &&
                      error.find("the last good checkpoint is") != std::string::npos;
    return saved > 0 && said && latest_step(dir / "c") == saved - 1 ? 0 : 1;
  });
  if (code == 77) GTEST_SKIP() << "file systems cannot be mounted here";
  EXPECT_EQ(code, 0);
}

TEST(CheckpointStore, AFailingWriteLeavesTheLastGoodOne) {
  const TempDir dir;
  EXPECT_EQ(in_child([&] {
              CheckpointStore store({.folder = dir / "c"});
              store.save(content_of(1));
              ::signal(SIGXFSZ, SIG_IGN);
              const rlimit small{9000, 9000};
              ::setrlimit(RLIMIT_FSIZE, &small);
              const std::string error = error_text([&] { store.save(content_of(2)); });
              return error.find("File too large") != std::string::npos && latest_step(dir / "c") == 1 ? 0 : 1;
            }),
            0);
  EXPECT_EQ(names_in(dir / "c"), (std::set<std::string>{"latest", "step-00000001"}));
}

TEST(CheckpointStore, ABrokenLatestIsSaid) {
  const TempDir dir;
  CheckpointStore({.folder = dir / "c"}).save(content_of(1));
  for (const char* name : {"../../etc", "step-1/../..", "", "step-", "step--1", "step-99"}) {
    dir.write("c/latest", name);
    EXPECT_THAT(error_text([&] { CheckpointStore::latest_checkpoint(dir / "c"); }), HasSubstr("latest: "))
        << name;
  }
  EXPECT_THAT(CheckpointStore::checkpoints(dir / "c"), ElementsAre(dir / "c/step-00000001"));
  // A new save heals it.
  CheckpointStore({.folder = dir / "c"}).save(content_of(2));
  EXPECT_EQ(latest_step(dir / "c"), 2);
}

}  // namespace
}  // namespace tetrad::train

// Run folders, and where the engine is looked for.
#include "cli/launch/engine_path.h"
#include "cli/launch/run_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <tetrad/base/error.h>

#include <cstdlib>
#include <fstream>
#include <functional>
#include <set>

namespace tetrad::cli {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class Launch : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "tetrad-launch-XXXXXX";
    folder_ = ::mkdtemp(name.data());
  }
  void TearDown() override { fs::remove_all(folder_); }
  fs::path folder_;
};

std::string error_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

TEST_F(Launch, NamesComeFromTheConfigFile) {
  EXPECT_EQ(run_name("configs/fp2-model.yaml"), "fp2-model");
  EXPECT_EQ(run_name("a b/c d\u00e9.yaml"), "c-d--");
  EXPECT_EQ(run_name(""), "run");
  EXPECT_EQ(run_name(std::string(300, 'x') + ".yaml").size(), 100U);
}

TEST_F(Launch, StampsAreUtc) {
  EXPECT_EQ(utc_stamp(0), "19700101T000000Z");
  EXPECT_EQ(utc_stamp(1764000000), "20251124T160000Z");
}

TEST_F(Launch, FoldersOfOneSecondGetNumbers) {
  std::set<std::string> names;
  for (int i = 0; i < 3; ++i) {
    const fs::path made = create_run_folder(folder_ / "a" / "b", "c", 0, {"k: 1\n", {{"x", 1}}});
    EXPECT_TRUE(made.is_absolute());
    names.insert(made.filename().string());
    std::set<std::string> files;
    for (const auto& entry : fs::directory_iterator(made)) files.insert(entry.path().filename().string());
    EXPECT_EQ(files, (std::set<std::string>{"config.yaml", "config.json"})) << "no temporary file is left";
  }
  EXPECT_EQ(names,
            (std::set<std::string>{"19700101T000000Z-c", "19700101T000000Z-c-2", "19700101T000000Z-c-3"}));
}

TEST_F(Launch, AnImpossibleFolderIsNamed) {
  std::ofstream(folder_ / "file") << "x";
  EXPECT_THAT(error_of([&] {
                create_run_folder(folder_ / "file", "c", 0, {"", {}});
              }),
              HasSubstr("[run] cannot store this run in '" + (folder_ / "file").string()));
  EXPECT_THAT(error_of([&] {
                create_run_folder("/proc/nothing", "c", 0, {"", {}});
              }),
              HasSubstr("nothing was started"));
}

TEST_F(Launch, TheEngineLiesBesideOrInLibexec) {
  fs::create_directories(folder_ / "bin");
  fs::create_directories(folder_ / "libexec" / "tetrad");
  const fs::path beside = folder_ / "bin" / engine_name;
  const fs::path installed = folder_ / "libexec" / "tetrad" / engine_name;
  const std::string error = error_of([&] { find_engine(folder_ / "bin"); });
  EXPECT_THAT(error, HasSubstr(beside.string()));
  EXPECT_THAT(error, HasSubstr(installed.string()));
  std::ofstream(installed) << "x";
  EXPECT_THAT(error_of([&] { find_engine(folder_ / "bin"); }), HasSubstr("is a program")) << "not executable";
  fs::permissions(installed, fs::perms::owner_all);
  EXPECT_EQ(find_engine(folder_ / "bin"), installed);
  std::ofstream(beside) << "x";
  fs::permissions(beside, fs::perms::owner_all);
  EXPECT_EQ(find_engine(folder_ / "bin"), beside);
}

}  // namespace
}  // namespace tetrad::cli

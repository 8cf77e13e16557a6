// Where the engine is looked for.
#include "cli/launch/engine_path.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <tetrad/base/error.h>

#include <cstdlib>
#include <fstream>
#include <functional>

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

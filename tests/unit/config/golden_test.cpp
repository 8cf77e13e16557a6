// Every file of tests/data/config/errors is a config with mistakes; NAME.expected holds the exact lines that
// it must give. `TETRAD_WRITE_GOLDEN=1 unit_config_errors` writes the .expected files anew, for review.
#include "unit/config/support.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

namespace tetrad::config::test {
namespace {

namespace fs = std::filesystem;

const fs::path folder = fs::path(TETRAD_SOURCE_DIR) / "tests/data/config/errors";

std::string messages_of(const std::string& file) {
  const Surroundings surroundings{environment(), folder};
  try {
    resolve(std::vector<std::string>{file}, {}, lookup, surroundings);
    return "";
  } catch (const ConfigError& e) {
    EXPECT_EQ(e.code(), ExitCode::usage);
    return std::string(e.what()) + "\n";
  }
}

TEST(GoldenErrors, EveryFileGivesItsLines) {
  int files = 0;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() != ".yaml") continue;
    ++files;
    const std::string name = entry.path().filename().string();
    const std::string actual = messages_of(name);
    const fs::path expected = fs::path(entry.path()).replace_extension(".expected");
    if (std::getenv("TETRAD_WRITE_GOLDEN") != nullptr) std::ofstream(expected, std::ios::binary) << actual;
    EXPECT_NE(actual, "") << name << " has no error";
    EXPECT_EQ(actual, tetrad::test::read_all(expected)) << name;
  }
  EXPECT_GE(files, 22);
}

}  // namespace
}  // namespace tetrad::config::test

// `host doctor --verify`: what it looks at and writes, and that a run refuses what failed until another
// verification passes.
#include "engine_place.h"

#include <cstdlib>
#include <fstream>
#include <set>

namespace tetrad::e2e {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;

json read_json(const fs::path& file) {
  std::ifstream in(file);
  return json::parse(in, nullptr, false);
}

class Verify : public testing::Test {
 protected:
  Verify() {
    ::setenv("XDG_STATE_HOME", (folder_ / "state").c_str(), 1);
    ::unsetenv("TETRAD_CHECK_FAULT");
  }
  ~Verify() override {
    ::unsetenv("XDG_STATE_HOME");
    ::unsetenv("TETRAD_CHECK_FAULT");
  }
  // All shipped plugins, and the fixture that can be told to be wrong.
  Result verify() const {
    return EnginePlace::run({"doctor", "--verify", "--device", "cpu", "--timeout-secs", "500", "--out",
                             report().string(), "--plugin-path", TETRAD_CHECK_FIXTURES});
  }
  Result use(const EnginePlace& place) const {
    return place.generate({"--set", "linear.plugin=check-linear", "--set", "path=training", "--plugin-path",
                           TETRAD_CHECK_FIXTURES});
  }
  fs::path report() const { return folder_ / "report.json"; }
  fs::path state() const { return folder_ / "state/tetrad/verified.json"; }

  test::TempDir folder_;
};

TEST_F(Verify, PassesAndWritesOneReport) {
  const Result result = verify();
  EXPECT_EQ(result.exit_code, 0) << result.out << result.err;
  EXPECT_THAT(result.out, HasSubstr("verdict: pass"));
  EXPECT_FALSE(fs::exists(state()));
  const json facts = read_json(report());
  ASSERT_TRUE(facts.is_object());
  EXPECT_TRUE(facts.contains("machine") && facts.contains("plugins"));
  const json& done = facts.at("verify");
  EXPECT_EQ(done.at("verdict"), "pass");
  EXPECT_THAT(done.at("device").get<std::string>(), HasSubstr("cpu "));
  std::set<std::string> seen;
  for (const json& each : done.at("kernels")) {
    EXPECT_THAT(each.at("verdict").get<std::string>(), testing::AnyOf("pass", "skip")) << each.dump();
    EXPECT_FALSE(each.at("build_id").get<std::string>().empty());
    seen.insert(each.at("owner").get<std::string>() + " " + each.at("kernel").get<std::string>());
  }
  for (const char* expected :
       {"core codec", "core products", "core attention/bfloat16", "backend-nvfp4 weights/training/bfloat16",
        "backend-nvfp4 forward/bridge/bfloat16", "backend-nvfp4 tied-planes/bridge/bfloat16",
        "backend-nvfp4 grad-input/training/bfloat16", "backend-nvfp4 grad-weight/training/bfloat16",
        "backend-bf16 forward/training/bfloat16", "kvc-persistent cache/bfloat16",
        "check-linear weights/training/float32"})
    EXPECT_TRUE(seen.contains(expected)) << expected;
}

TEST_F(Verify, WhatFailedIsRefusedUntilItPasses) {
  const EnginePlace place;
  EXPECT_EQ(use(place).exit_code, 0) << use(place).err;
  ::setenv("TETRAD_CHECK_FAULT", "wrong_block", 1);
  const Result failed = verify();
  EXPECT_EQ(failed.exit_code, 3) << failed.out << failed.err;
  EXPECT_THAT(failed.out, HasSubstr("verdict: fail: 1 of"));
  const json written = read_json(state());
  ASSERT_EQ(written.at("devices").size(), 1U);
  const json& entry = *written.at("devices").begin();
  ASSERT_EQ(entry.at("failed").size(), 1U);
  EXPECT_EQ(entry.at("failed")[0].at("owner"), "check-linear");
  EXPECT_EQ(entry.at("failed")[0].at("kernel"), "weights/training/float32");
  ::unsetenv("TETRAD_CHECK_FAULT");

  expect_refused(use(place), 3,
                 {"[verify] kernel weights/training/float32 of check-linear failed",
                  "row 2, columns 16 to 31", report().string()});
  EXPECT_EQ(place.generate().exit_code, 0) << "another plugin is not refused";
  // Another build of it is not what failed.
  json other = written;
  (*other.at("devices").begin()).at("failed")[0]["build_id"] = "0123";
  folder_.write("state/tetrad/verified.json", other.dump());
  EXPECT_EQ(use(place).exit_code, 0);
  folder_.write("state/tetrad/verified.json", "{\"format\": 1");
  expect_refused(use(place), 1, {"verified.json", "remove it and run 'host doctor --verify' again"});

  folder_.write("state/tetrad/verified.json", written.dump());
  EXPECT_EQ(verify().exit_code, 0);
  EXPECT_EQ(use(place).exit_code, 0);
  EXPECT_TRUE(read_json(state()).at("devices").empty());
}

TEST_F(Verify, ACrashCountsAgainstAllThatWasLookedAt) {
  ::setenv("TETRAD_CHECK_FAULT", "crashes_in_constructor", 1);
  EXPECT_EQ(verify().exit_code, 3);
  const json written = read_json(state());
  ASSERT_EQ(written.at("devices").size(), 1U);
  const json& failed = (*written.at("devices").begin()).at("failed");
  EXPECT_EQ(failed.size(), 2U);
  for (const json& each : failed) {
    EXPECT_EQ(each.at("owner"), "check-linear");
    EXPECT_EQ(each.at("verdict"), "crash");
  }
}

TEST_F(Verify, RefusesWhatItCannotDo) {
  const Result device =
      EnginePlace::run({"doctor", "--verify", "--device", "cuda:99", "--out", report().string()});
  EXPECT_NE(device.exit_code, 0);
  EXPECT_FALSE(fs::exists(report()));
  const Result alone = EnginePlace::run({"doctor", "--out", report().string()});
  EXPECT_EQ(alone.exit_code, 2);
}

}  // namespace
}  // namespace tetrad::e2e

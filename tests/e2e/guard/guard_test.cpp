// The guard as a user meets it: `host guard`, real processes, small limits, and a fake driver that hangs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "host/launcher.h"
#include "support/temp_dir.h"

namespace tetrad::e2e {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

// Every process whose command line has `word` in it.
std::vector<pid_t> processes_with(const std::string& word) {
  std::vector<pid_t> pids;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    std::ifstream in(entry.path() / "cmdline", std::ios::binary);
    const std::string line((std::istreambuf_iterator<char>(in)), {});
    std::ifstream stat(entry.path() / "stat");
    const std::string text((std::istreambuf_iterator<char>(stat)), {});
    if (line.find(word) != std::string::npos && text.find(") Z ") == std::string::npos)
      pids.push_back(std::stoi(name));
  }
  return pids;
}

bool nobody_soon(const std::string& word) {
  for (int i = 0; i < 400; ++i) {
    if (processes_with(word).empty()) return true;
    ::poll(nullptr, 0, 5);
  }
  return false;
}

class Guarded : public testing::Test {
 protected:
  Guarded() { ::unsetenv("TETRAD_GUARD"); }
  // A word that only this test's processes have in their command line (ramp ignores it).
  std::string mark_ = "mark-" + std::to_string(::getpid()) + "-" +
                      testing::UnitTest::GetInstance()->current_test_info()->name();
  std::vector<std::string> guard(std::vector<std::string> limits, std::vector<std::string> ramp) const {
    std::vector<std::string> arguments = {"guard", "--poll-secs", "0.05"};
    arguments.insert(arguments.end(), limits.begin(), limits.end());
    arguments.insert(arguments.end(), {"--", TETRAD_RAMP});
    arguments.insert(arguments.end(), ramp.begin(), ramp.end());
    while (ramp.size() < 3) {
      arguments.push_back("0");
      ramp.push_back("0");
    }
    arguments.push_back(mark_);
    return arguments;
  }
  test::TempDir folder_;
};

TEST_F(Guarded, ARampIsEndedNearItsLimitAndReported) {
  const std::string report = (folder_ / "report.json").string();
  const Result result = run_host(guard({"--limit-gb", "0.25", "--report", report}, {"anon", "600", "800"}));
  EXPECT_EQ(result.exit_code, 124);
  EXPECT_THAT(result.err,
              AllOf(ContainsRegex("\\[guard\\] limit=0.25 GiB \\(256 MiB\\) over=0 s poll=0.05 s "
                                  "sensors=guard-host"),
                    ContainsRegex("\\[guard\\] running: .*ramp.* guard_pid=[0-9]+ child_pid=[0-9]+\n"),
                    ContainsRegex("\\[guard\\] limit exceeded: tree_mem=[0-9]+ MiB total_mem=[0-9]+ MiB "
                                  "available=[0-9]+ MiB limit=256 MiB rule=(tree_limit|predicted); "
                                  "killing 1 processes\n"),
                    ContainsRegex("\\[guard\\] peak tree=[0-9]+ MiB total=[0-9]+ MiB "
                                  "lowest_available=[0-9]+ MiB at=start\n")));
  const json record = json::parse(std::ifstream(report), nullptr, false);
  ASSERT_TRUE(record.is_object());
  EXPECT_EQ(record["limit_bytes"], 256U << 20);
  EXPECT_EQ(record["survivors"], 0);
  EXPECT_EQ(record["process_count"], 1);
  EXPECT_GT(record["rate_bytes_per_s"].get<double>(), 0);
  EXPECT_THAT(record["processes"][0]["name"].get<std::string>(), HasSubstr("ramp"));
  EXPECT_GT(record["samples"].size(), 3U);
  EXPECT_TRUE(record["times_s"]["all_gone"].is_number());
  std::ifstream text(folder_ / "report.txt");
  const std::string page((std::istreambuf_iterator<char>(text)), {});
  EXPECT_THAT(page, AllOf(HasSubstr("The guard ended this run"), HasSubstr("SIGKILL sent")));
  EXPECT_TRUE(nobody_soon(mark_));
}

TEST_F(Guarded, TheLogHoldsEachReadingAndWhatWasDone) {
  const std::string file = (folder_ / "guard.jsonl").string();
  const Result result =
      run_host(guard({"--limit-gb", "0.25", "--soft-gb", "0.1", "--log", file}, {"stubborn", "600", "800"}));
  EXPECT_EQ(result.exit_code, 124) << result.err;
  std::ifstream in(file);
  std::vector<json> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(json::parse(line));
  ASSERT_GT(lines.size(), 8U);
  EXPECT_EQ(lines.front()["event"], "start");
  EXPECT_EQ(lines.front()["limit_bytes"], 256U << 20);
  EXPECT_EQ(lines.back()["event"], "end");
  EXPECT_EQ(lines.back()["exit_code"], 124);
  EXPECT_EQ(lines.back()["dropped_lines"], 0);
  std::map<std::string, int> count;
  double last = 0, fastest = 0;
  for (const json& line : lines) {
    ++count[line["event"]];
    if (line["event"] != "sample") continue;
    EXPECT_GT(line["mono_ms"].get<double>(), last);
    last = line["mono_ms"].get<double>();
    fastest = std::max(fastest, line["rate_bytes_per_s"].get<double>());
    EXPECT_TRUE(line["available_bytes"].is_number()) << line;
    EXPECT_TRUE(line["device_bytes"].is_null()) << "unknown is not 0: " << line;
    EXPECT_EQ(line["sensors"][0]["id"], "guard-host");
  }
  EXPECT_EQ(count["soft"], 1);
  EXPECT_EQ(count["kill"], 1);
  EXPECT_GT(fastest, 50e6);
  // The reading that decided stands right before what it led to.
  const auto kill =
      std::find_if(lines.begin(), lines.end(), [](const json& l) { return l["event"] == "kill"; });
  EXPECT_EQ((kill - 1)->at("verdict"), "kill");
  EXPECT_GT((kill - 1)->at("tree_bytes").get<double>(), 240e6);
  EXPECT_EQ(kill->at("survivors"), 0);

  const Result refused = run_host(guard({"--limit-gb", "1", "--log", "/nowhere/at/all"}, {"anon", "1"}));
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_THAT(refused.err, HasSubstr("the log /nowhere/at/all cannot be written"));
  EXPECT_TRUE(processes_with(mark_).empty()) << "nothing was started";
}

TEST_F(Guarded, RampsOfAnyRateAreEnded) {
  for (const char* rate : {"512", "2048", "8192", "0"}) {
    const std::string report = (folder_ / rate).string() + ".json";
    const Result result = run_host(guard({"--limit-gb", "0.25", "--report", report}, {"map", "640", rate}));
    EXPECT_EQ(result.exit_code, 124) << rate << result.err;
    EXPECT_THAT(result.err, ContainsRegex("rule=(tree_limit|predicted)")) << rate;
    const json record = json::parse(std::ifstream(report), nullptr, false);
    ASSERT_TRUE(record.is_object());
    EXPECT_GT(record["bytes"].get<double>(), 245e6) << rate << ": not before the window of a prediction";
    EXPECT_EQ(record["survivors"], 0);
  }
}

TEST_F(Guarded, AForeignProgramIsGuarded) {
  if (run_host({"guard", "--", "python3", "-c", "pass"}).exit_code != 0)
    GTEST_SKIP() << "there is no python3";
  const Result result = run_host({"guard", "--limit-gb", "0.2", "--", "python3", "-c",
                                  "import time; x = b'1' * (600 << 20); time.sleep(60)"});
  EXPECT_EQ(result.exit_code, 124) << result.err;
  EXPECT_THAT(result.err, ContainsRegex("limit=205 MiB rule=(tree_limit|predicted)"));
}

TEST_F(Guarded, PageCacheIsNoMemoryOfTheTree) {
  const Result result = run_host(guard({"--limit-gb", "0.1"}, {"files", "300"}));
  EXPECT_EQ(result.exit_code, 0) << result.err;
}

TEST_F(Guarded, SharedPagesCountOnce) {
  // 100 MiB shared by fourteen, and the same after a fork: over 1 GiB counted for each, far below counted
  // once, also when other programs take hundreds of MiB meanwhile.
  for (const char* what : {"sharers", "forked"}) {
    Started host(guard({"--limit-gb", "1"}, {what, "100", "14"}), false);
    ASSERT_TRUE(host.wait_for("child_pid="));
    ::poll(nullptr, 0, 1500);
    EXPECT_EQ(processes_with(mark_).size() > 13, true) << what << host.seen();
    ::kill(host.pid(), SIGTERM);
    EXPECT_EQ(host.finish(), 128 + SIGTERM) << what << host.seen();
    EXPECT_THAT(host.seen(), Not(HasSubstr("limit exceeded"))) << what;
  }
}

TEST_F(Guarded, DaemonsBombsStoppedAndHeadlessProgramsAreEnded) {
  struct Case {
    std::vector<std::string> ramp;
    const char* limit;
  };
  for (const Case& c : {Case{{"daemons", "5", "300"}, "0.1"}, Case{{"bomb", "150"}, "0.005"},
                        Case{{"zombie", "300"}, "0.1"}, Case{{"sharers", "60", "6"}, "0.03"}}) {
    const Result result = run_host(guard({"--limit-gb", c.limit}, c.ramp));
    EXPECT_EQ(result.exit_code, 124) << c.ramp[0] << result.err;
    EXPECT_TRUE(nobody_soon(mark_)) << c.ramp[0];
  }
}

TEST_F(Guarded, AStoppedProgramIsStillWatched) {
  Started host(guard({"--limit-gb", "0.2", "--over-secs", "1"}, {"stop", "250"}), false);
  EXPECT_EQ(host.finish(), 124) << host.seen();
}

TEST_F(Guarded, WhenTheGuardIsKilledItsTreeGoesToo) {
  for (int round = 0; round < 20; ++round) {
    Started host(guard({"--limit-gb", "1"}, {"daemons", "3"}), false);
    ASSERT_TRUE(host.wait_for("child_pid="));
    for (int i = 0; i < 400 && processes_with(mark_).size() < 5; ++i) ::poll(nullptr, 0, 5);
    ::poll(nullptr, 0, 60);  // the guard has seen them
    ::kill(host.pid(), SIGKILL);
    EXPECT_EQ(host.finish(), 128 + SIGKILL);
    EXPECT_TRUE(nobody_soon(mark_)) << "round " << round;
  }
}

TEST_F(Guarded, TheSoftStageComesFirst) {
  const Result result = run_host(guard({"--limit-gb", "0.5", "--soft-gb", "0.15"}, {"soft", "400"}));
  EXPECT_EQ(result.exit_code, 7) << result.err;
  EXPECT_THAT(result.err,
              ContainsRegex("\\[guard\\] soft limit passed: tree_mem=[0-9]+ MiB soft=154 MiB; SIGTERM"));
  const Result wrong = run_host(guard({"--limit-gb", "0.5", "--soft-gb", "0.5"}, {"anon", "1"}));
  EXPECT_EQ(wrong.exit_code, 2);
}

TEST_F(Guarded, AGuardWithinAGuardStartsNoSecondOneAndTheStricterLimitWins) {
  const auto nested = [&](const char* outer, const char* inner, const char* mib) {
    std::vector<std::string> inside = guard({"--limit-gb", inner}, {"anon", mib, "400"});
    std::vector<std::string> all = {"guard", "--poll-secs", "0.05", "--limit-gb", outer, "--", host_file()};
    all.insert(all.end(), inside.begin(), inside.end());
    return run_host(all);
  };
  for (const auto& [outer, inner] : {std::pair("1", "0.15"), std::pair("0.15", "1")}) {
    const Result result = nested(outer, inner, "400");
    EXPECT_EQ(result.exit_code, 124) << result.err;
    EXPECT_THAT(result.err,
                ContainsRegex("\\[guard\\] under the guard with guard_pid=[0-9]+, which stays the only "
                              "one: limit=0.15 GiB \\(154 MiB\\)\n"));
    EXPECT_THAT(result.err, ContainsRegex("limit exceeded: .*limit=154 MiB .*killing 2 processes"));
    EXPECT_TRUE(nobody_soon(mark_));
  }
}

TEST_F(Guarded, StatusShowsARunningGuard) {
  Started host(guard({"--limit-gb", "1"}, {"anon", "20"}), false);
  ASSERT_TRUE(host.wait_for("child_pid="));
  json mine;
  for (int i = 0; i < 100 && !mine.is_object(); ++i) {
    const Result result = run_host({"guard", "status", "--json"});
    EXPECT_EQ(result.exit_code, 0);
    for (const json& one : json::parse(result.out)) {
      if (one["guard_pid"] == host.pid() && one["tree_bytes"].is_number() && one["tree_bytes"] > 20000000)
        mine = one;
    }
    ::poll(nullptr, 0, 10);
  }
  ASSERT_TRUE(mine.is_object());
  EXPECT_EQ(mine["limits"]["limit_bytes"], 1U << 30);
  EXPECT_EQ(mine["processes"], 1);
  EXPECT_THAT(run_host({"guard", "status"}).out, HasSubstr("guard_pid=" + std::to_string(host.pid())));
}

// ---- with a driver that is a fake ----

class FakeDriver : public Guarded {
 protected:
  FakeDriver() {
    ::setenv("LD_LIBRARY_PATH", TETRAD_FAKE_NVML, 1);
    ::setenv("FAKE_NVML_FILE", script_.c_str(), 1);
  }
  ~FakeDriver() override {
    ::unsetenv("LD_LIBRARY_PATH");
    ::unsetenv("FAKE_NVML_FILE");
  }
  void play(const std::string& text) const {
    const std::string next = script_ + ".next";
    std::ofstream(next) << text;
    std::filesystem::rename(next, script_);
  }
  // The child of a started guard.
  static pid_t child_of(const std::string& seen) {
    return static_cast<pid_t>(std::stol(seen.substr(seen.find("child_pid=") + 10)));
  }
  std::string script_ = (folder_ / "script").string();
};

TEST_F(FakeDriver, DeviceMemoryOfTheTreeHasItsLimit) {
  play("memory 8589934592 8589934592\n");
  Started host(guard({"--limit-gb", "2", "--sensor", "guard-nvml"}, {"anon", "8"}), false);
  ASSERT_TRUE(host.wait_for("child_pid="));
  ASSERT_TRUE(host.wait_for("\n"));
  const std::string child = std::to_string(child_of(host.seen()));
  // Somebody else's gigabytes are none of this tree's.
  play("memory 8589934592 1073741824\nrow 1 7000000000\nrow " + child + " 500000000\n");
  ::poll(nullptr, 0, 1500);
  EXPECT_EQ(processes_with(mark_).empty(), false) << host.seen();
  play("memory 8589934592 1073741824\nrow 1 4000000000\nrow " + child + " 3000000000\n");
  EXPECT_EQ(host.finish(), 124) << host.seen();
  EXPECT_THAT(host.seen(),
              ContainsRegex("tree_mem=2861 MiB total_mem=7168 MiB .*limit=2048 MiB rule=device_limit"));
  EXPECT_THAT(host.seen(), ContainsRegex("peak tree=[0-9]+ MiB device=2861 MiB"));
}

TEST_F(FakeDriver, OnUnifiedMemoryTheSumCounts) {
  play("name NVIDIA GB10\n");
  Started host(guard({"--limit-gb", "0.5", "--sensor", "guard-nvml"}, {"anon", "300"}), false);
  ASSERT_TRUE(host.wait_for("child_pid="));
  ASSERT_TRUE(host.wait_for("\n"));
  const std::string child = std::to_string(child_of(host.seen()));
  play("name NVIDIA GB10\nrow " + child + " 100000000\n");
  ::poll(nullptr, 0, 1500);
  EXPECT_EQ(processes_with(mark_).empty(), false) << host.seen();
  play("name NVIDIA GB10\nrow " + child + " 300000000\n");  // 300 MiB + 286 MiB
  EXPECT_EQ(host.finish(), 124) << host.seen();
  EXPECT_THAT(host.seen(), ContainsRegex("limit=512 MiB rule=unified_limit"));
}

TEST_F(FakeDriver, AHangingSlowLyingOrLostDriverDelaysNoKillAndEndsNoRun) {
  for (const char* script :
       {"hang\n", "memory 8589934592 8589934592\nslow 700\n", "memory_rc 15\nrows_rc 15\n",
        "memory 5 9\nrow 0 0\nrow 4294967295 18446744073709551614\n", "init_rc 18\n"}) {
    play(script);
    const auto start = std::chrono::steady_clock::now();
    const Result result =
        run_host(guard({"--limit-gb", "0.2", "--sensor", "guard-nvml"}, {"anon", "500", "400"}));
    EXPECT_EQ(result.exit_code, 124) << script << result.err;
    EXPECT_THAT(result.err, ContainsRegex("rule=(tree_limit|predicted)")) << script;
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20)) << script;
    EXPECT_TRUE(nobody_soon(mark_));
  }
}

TEST_F(FakeDriver, ADriverThatHangsIsSaidAndUnknown) {
  play("memory 8589934592 8589934592\n");
  Started host(guard({"--limit-gb", "1", "--sensor", "guard-nvml"}, {"anon", "8"}), false);
  ASSERT_TRUE(host.wait_for("child_pid="));
  ::poll(nullptr, 0, 500);
  play("hang\n");
  EXPECT_TRUE(host.wait_for("[guard] guard-nvml: no answer for"));
  play("memory 8589934592 8589934592\n");
  EXPECT_TRUE(host.wait_for("[guard] guard-nvml: answers again"));
  ::kill(host.pid(), SIGTERM);
  host.finish();
}

TEST_F(FakeDriver, BlindnessIsSaidOrRefused) {
  play("init_rc 18\n");
  Result result =
      run_host(guard({"--limit-gb", "1", "--sensor", "guard-nvml", "--refuse-blind"}, {"anon", "8"}));
  EXPECT_EQ(result.exit_code, 125);
  EXPECT_THAT(result.err,
              AllOf(HasSubstr("guard-nvml cannot observe memory here"), HasSubstr("version mismatch")));
  EXPECT_TRUE(processes_with(mark_).empty()) << "nothing was started";
}

TEST_F(FakeDriver, AReusedPidIsNotOurs) {
  play("memory 8589934592 8589934592\n");
  Started host(guard({"--limit-gb", "1", "--sensor", "guard-nvml"}, {"anon", "8"}), false);
  ASSERT_TRUE(host.wait_for("child_pid="));
  // A number beyond every process of this namespace: counted for nobody.
  play("memory 8589934592 0\nrow 4000000 8000000000\n");
  ::poll(nullptr, 0, 1500);
  EXPECT_EQ(processes_with(mark_).empty(), false) << host.seen();
  ::kill(host.pid(), SIGTERM);
  EXPECT_EQ(host.finish(), 128 + SIGTERM) << host.seen();
}

TEST_F(Guarded, VerifyProvesItself) {
  const Result result = run_host({"guard", "--verify"});
  EXPECT_THAT(result.out, AllOf(ContainsRegex("ok +guard-host: memory of processes readable"),
                                ContainsRegex("ok +a program over a limit of 256 MiB: ended at"),
                                ContainsRegex("ok +a daemon over a limit of 256 MiB: ended at"),
                                ContainsRegex("ok +a limit beyond the machine's memory is refused")))
      << result.err;
}

}  // namespace
}  // namespace tetrad::e2e

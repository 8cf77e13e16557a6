// What a run leaves behind however it ends, and `host runs`.
#include "launcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <filesystem>
#include <fstream>

namespace tetrad::e2e {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

std::string read_file(const fs::path& file) {
  std::ifstream in(file);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::string last_line(std::string text) {
  while (text.ends_with('\n')) text.pop_back();
  return text.substr(text.rfind('\n') + 1);
}

class Runs : public testing::Test {
 protected:
  Result run(const std::string& order, const std::vector<std::string>& more = {}) const {
    std::vector<std::string> arguments = {"--set", "run.dir=" + runs_};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_host(place_.generate(order, arguments));
  }
  json latest() const {
    const Result shown = run_host({"runs", "show", "latest", "--json", "--dir", runs_});
    EXPECT_EQ(shown.exit_code, 0) << shown.err;
    return json::parse(shown.out, nullptr, false);
  }
  std::string page() const { return run_host({"runs", "show", "latest", "--dir", runs_}).out; }

  Workplace place_;
  std::string runs_ = place_.path("runs");
};

TEST_F(Runs, EveryEndLeavesItsSummary) {
  struct Case {
    std::string order;
    std::vector<std::string> more;
    int code;
    std::string state, reason;
  };
  const std::vector<Case> cases = {
      {"exit 0", {}, 0, "ok", ""},
      {"exit 4", {}, 4, "failed", "as ordered"},
      {"exit 3", {}, 3, "failed", "as ordered"},
      {"silent 0", {}, 1, "crashed", "without its last message"},
      {"signal 11", {}, 139, "crashed", "ended by signal 11"},
      {"hog 2000", {"guard.limit_gb=0.2", "guard.poll_secs=0.05"}, 124, "guard", "limit=205 MiB rule="},
  };
  for (const Case& c : cases) {
    const Result result = run(c.order, c.more);
    EXPECT_EQ(result.exit_code, c.code) << c.order << result.err;
    const json shown = latest();
    EXPECT_EQ(shown["status"]["state"], c.state) << c.order;
    EXPECT_EQ(shown["status"]["exit_code"], c.code) << c.order;
    EXPECT_THAT(shown["status"]["reason"].get<std::string>(), HasSubstr(c.reason)) << c.order;
    const fs::path folder = shown["folder"].get<std::string>();
    EXPECT_EQ(last_line(result.err), "[run] folder: " + folder.string()) << result.err;
    const std::string summary = read_file(folder / "summary.md");
    EXPECT_THAT(summary, AllOf(HasSubstr("(exit code " + std::to_string(c.code) + ")"), HasSubstr(c.reason),
                               HasSubstr("| Linear layers | launcher-fixture ")))
        << c.order;
    EXPECT_EQ(summary, page());
    for (const auto& file : fs::directory_iterator(folder))
      EXPECT_THAT(file.path().filename().string(), Not(testing::EndsWith(".tmp")));
  }
  const Result list = run_host({"runs", "list", "--json", "--dir", runs_});
  EXPECT_EQ(json::parse(list.out)["runs"].size(), cases.size());
}

TEST_F(Runs, AnEngineThatCannotBeStartedIsARunToo) {
  const Result result = run_host({"generate", "--config", place_.path("c.yaml"), "--prompt", "echo",
                                  "--engine", "/nowhere", "--set", "run.dir=" + runs_});
  EXPECT_EQ(result.exit_code, 1);
  const json shown = latest();
  EXPECT_EQ(shown["status"]["state"], "failed");
  EXPECT_THAT(shown["status"]["reason"].get<std::string>(), HasSubstr("cannot start '/nowhere'"));
  EXPECT_EQ(last_line(result.err), "[run] folder: " + shown["folder"].get<std::string>());
}

TEST_F(Runs, ASummaryComesInTheChosenLanguage) {
  EXPECT_EQ(run("exit 0", {"--lang", "zh-TW"}).exit_code, 0);
  const fs::path folder = latest()["folder"].get<std::string>();
  EXPECT_THAT(read_file(folder / "summary.md"), AllOf(HasSubstr("成功"), HasSubstr("記憶體峰值")));
  EXPECT_THAT(run_host({"runs", "show", "latest", "--dir", runs_, "--lang", "zh-TW"}).out, HasSubstr("成功"));
  EXPECT_THAT(page(), HasSubstr("Peak memory"));
  const Result bad = run("exit 0", {"--lang", "fr"});
  EXPECT_EQ(bad.exit_code, 2);
  EXPECT_EQ(bad.err, "error: [cli] --lang: 'fr' is neither en nor zh-TW\n");
}

TEST_F(Runs, AnInterruptedRunSaysSo) {
  Started host(place_.generate("hang", {"--set", "run.dir=" + runs_}), false);
  ASSERT_TRUE(host.wait_for("ready"));
  EXPECT_EQ(latest()["status"]["state"], "running");
  EXPECT_THAT(run_host({"runs", "list", "--dir", runs_}).out, HasSubstr("running"));
  ::kill(host.pid(), SIGTERM);
  EXPECT_EQ(host.finish(), 143);
  EXPECT_EQ(latest()["status"]["state"], "interrupted");
  EXPECT_THAT(page(), HasSubstr("interrupted (exit code 143)"));
}

TEST_F(Runs, AKilledLauncherLeavesARunThatIsLost) {
  Started host(place_.generate("hang", {"--set", "run.dir=" + runs_}), false);
  ASSERT_TRUE(host.wait_for("ready"));
  ::kill(host.pid(), SIGKILL);
  EXPECT_EQ(host.finish(), 137);
  EXPECT_EQ(latest()["status"]["state"], "lost");
  EXPECT_THAT(page(), HasSubstr("cut off"));
}

TEST_F(Runs, ListAndShowOnTheTerminal) {
  const Result none = run_host({"runs", "list", "--dir", runs_});
  EXPECT_EQ(none.exit_code, 0);
  EXPECT_EQ(none.err, "no runs in '" + runs_ + "'\n");
  EXPECT_EQ(run_host({"runs", "show", "latest", "--dir", runs_}).exit_code, 2);
  run("exit 0");
  run("exit 4");
  run("exit 0");
  const Result list = run_host({"runs", "list", "--dir", runs_, "--limit", "2"});
  EXPECT_EQ(std::count(list.out.begin(), list.out.end(), '\n'), 3);
  EXPECT_THAT(list.out, testing::StartsWith("Run "));
  EXPECT_THAT(list.out,
              AllOf(HasSubstr("failed (4)"), HasSubstr("generate"), HasSubstr(place_.path("c.yaml"))));
  EXPECT_EQ(list.err, "1 older ones are not shown; --limit 0 shows all\n");
  const Result chinese = run_host({"runs", "list", "--dir", runs_, "--lang", "zh-TW"});
  EXPECT_THAT(chinese.out, AllOf(testing::StartsWith("執行紀錄 "), HasSubstr("失敗 (4)"), HasSubstr("成功")));
  EXPECT_EQ(run_host({"runs", "show", "nothing", "--dir", runs_}).exit_code, 2);
}

TEST_F(Runs, AFullDiskIsOneErrorBeforeTheStart) {
  // All files of all processes below are at most as long as the config: the first stored file fails.
  const fs::path folder = place_.path("runs");
  const rlimit before = [] {
    rlimit now{};
    ::getrlimit(RLIMIT_FSIZE, &now);
    return now;
  }();
  ::signal(SIGXFSZ, SIG_IGN);
  const rlimit nothing{0, before.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &nothing);
  const Result result = run("echo");
  ::setrlimit(RLIMIT_FSIZE, &before);
  ::signal(SIGXFSZ, SIG_DFL);
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_EQ(result.out, "");
  EXPECT_THAT(result.err, AllOf(HasSubstr("error: [run] cannot store this run in"),
                                HasSubstr("File too large"), HasSubstr("nothing was started")));
  EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
  EXPECT_FALSE(fs::exists(folder)) << "nothing is left, not even the folder of runs";
}

TEST_F(Runs, AFolderThatVanishesMeanwhileIsOneErrorAtTheEnd) {
  ::signal(SIGINT, SIG_DFL);  // a shell's background job ignores it, and so would host
  Started host(place_.generate("stops 1", {"--set", "run.dir=" + runs_}), false);
  ASSERT_TRUE(host.wait_for("generating"));
  fs::remove_all(runs_);
  ::kill(host.pid(), SIGINT);
  EXPECT_EQ(host.finish(), 1);
  EXPECT_THAT(host.seen(), HasSubstr("the record of this run is incomplete"));
}

}  // namespace
}  // namespace tetrad::e2e

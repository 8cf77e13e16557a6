// How runs end: exit codes, signals, a stubborn, dying or lying engine, the guard.
#include "launcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

namespace tetrad::e2e {
namespace {

using testing::HasSubstr;
using testing::Not;

class Supervise : public testing::Test {
 protected:
  Result generate(const std::string& order, const std::vector<std::string>& more = {}) {
    return run_host(place_.generate(order, more));
  }
  Workplace place_;
};

// The pids of every process whose parent is `parent`, by the kernel's own list; the guard's helpers excepted.
std::vector<pid_t> children_of(pid_t parent) {
  std::vector<pid_t> pids;
  std::ifstream in("/proc/" + std::to_string(parent) + "/task/" + std::to_string(parent) + "/children");
  for (pid_t pid = 0; in >> pid;) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/comm");
    std::string name;
    std::getline(file, name);
    if (name == "fake_engine") pids.push_back(pid);
  }
  return pids;
}

bool gone_soon(pid_t pid) {
  for (int i = 0; i < 2000; ++i) {
    if (::kill(pid, 0) != 0) return true;
    std::ifstream in("/proc/" + std::to_string(pid) + "/stat");
    const std::string stat((std::istreambuf_iterator<char>(in)), {});
    if (stat.find(") Z ") != std::string::npos) return true;  // nobody in this container collects orphans
    ::poll(nullptr, 0, 5);
  }
  return false;
}

TEST_F(Supervise, ExitCodesPassThrough) {
  for (const int code : {0, 1, 2, 3, 4, 17}) {
    const Result result = generate("exit " + std::to_string(code));
    EXPECT_EQ(result.exit_code, code);
    EXPECT_THAT(result.err, Not(HasSubstr("error:"))) << "the engine has said what was wrong";
  }
}

TEST_F(Supervise, AnEngineThatEndsWithoutItsLastMessageIsReported) {
  const Result failed = generate("silent 5");
  EXPECT_EQ(failed.exit_code, 5);
  EXPECT_THAT(failed.err,
              HasSubstr("error: [host] the engine ended with exit code 5 without its last message"));
  EXPECT_EQ(generate("silent 0").exit_code, 1) << "silence is no success";
}

TEST_F(Supervise, AnEngineEndedByASignalGives128PlusIt) {
  for (const int signal : {SIGSEGV, SIGABRT, SIGFPE, SIGKILL, SIGTERM}) {
    const Result result = generate("signal " + std::to_string(signal));
    EXPECT_EQ(result.exit_code, 128 + signal);
    EXPECT_THAT(result.err, HasSubstr("the engine was ended by signal " + std::to_string(signal)));
  }
}

TEST_F(Supervise, TheEngineStartsWithCleanSignalsAndOneDescriptor) {
  const Result result = generate("facts");
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.out,
            "sigint_ignored=1 sigpipe_default=1 death_signal=9 blocked=0 extra_fds=1 same_group=1\n");
}

TEST_F(Supervise, StandardInputGoesToTheEngine) {
  const Result result = run_host(place_.generate("read"), "one\ntwo\n");
  EXPECT_EQ(result.out, "reading\ngot one\ngot two\n");
}

TEST_F(Supervise, TermAndHangupPassOnAndShowInTheExitCode) {
  for (const int signal : {SIGTERM, SIGHUP}) {
    Started host(place_.generate("hang"), false);
    ASSERT_TRUE(host.wait_for("ready"));
    ::kill(host.pid(), signal);
    EXPECT_EQ(host.finish(), 128 + signal) << host.seen();
  }
}

TEST_F(Supervise, AStoppedEngineEndsToo) {
  Started host(place_.generate("hang"), false);
  ASSERT_TRUE(host.wait_for("ready"));
  const auto children = children_of(host.pid());
  ASSERT_EQ(children.size(), 1U);
  ::kill(children[0], SIGSTOP);
  ::kill(host.pid(), SIGTERM);
  EXPECT_EQ(host.finish(), 128 + SIGTERM);
}

TEST_F(Supervise, AnEngineThatIgnoresTermIsKilledAfterTheGrace) {
  Started host(place_.generate("ignore-term"), false);
  ASSERT_TRUE(host.wait_for("ready"));
  const auto children = children_of(host.pid());
  ::kill(host.pid(), SIGTERM);
  EXPECT_EQ(host.finish(), 128 + SIGTERM);
  EXPECT_THAT(host.seen(), HasSubstr("[host] killed: it did not end in time"));
  for (const pid_t child : children) EXPECT_TRUE(gone_soon(child));
}

TEST_F(Supervise, TheEngineDiesWithHost) {
  for (int round = 0; round < 20; ++round) {
    Started host(place_.generate("hang"), false);
    ASSERT_TRUE(host.wait_for("ready"));
    const auto children = children_of(host.pid());
    ASSERT_EQ(children.size(), 1U);
    ::kill(host.pid(), SIGKILL);
    EXPECT_EQ(host.finish(), 128 + SIGKILL);
    EXPECT_TRUE(gone_soon(children[0]));
  }
}

TEST_F(Supervise, ProcessesLeftBehindAreEnded) {
  const Result result = generate("leave-child");
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.err, HasSubstr("[host] 1 processes that were left behind have been ended"));
}

TEST_F(Supervise, HostileMessagesEndTheListeningNotTheRun) {
  const Result result = generate("garbage");
  EXPECT_THAT(result.err,
              HasSubstr("the engine's messages are no longer read: [control] a frame announces 4294967295"));
  EXPECT_THAT(result.err, HasSubstr("without its last message"));
  EXPECT_EQ(result.exit_code, 1);
}

TEST_F(Supervise, InterruptsWithoutATerminalWorkTheSameWay) {
  Started host(place_.generate("stops 2"), false);
  ASSERT_TRUE(host.wait_for("generating"));
  ::kill(host.pid(), SIGINT);
  ASSERT_TRUE(host.wait_for("stopped turn 1: interrupt"));
  ::kill(host.pid(), SIGINT);
  ASSERT_TRUE(host.wait_for("stopped turn 2: interrupt")) << "a new turn counts anew";
  EXPECT_EQ(host.finish(), 0);
}

TEST_F(Supervise, TheSecondInterruptEndsTheProgram) {
  for (const char* order : {"hang", "ignore-term"}) {
    Started host(place_.generate(order), false);
    ASSERT_TRUE(host.wait_for("ready"));
    ::kill(host.pid(), SIGINT);
    ::poll(nullptr, 0, 200);
    const auto children = children_of(host.pid());
    EXPECT_EQ(children.size(), 1U) << "the first one only asks";
    ::kill(host.pid(), SIGINT);
    EXPECT_EQ(host.finish(), 128 + SIGINT) << order;
  }
}

TEST_F(Supervise, WhileLoadingTheFirstInterruptEndsTheProgram) {
  Started host(place_.generate("loading"), false);
  ASSERT_TRUE(host.wait_for("loading"));
  ::kill(host.pid(), SIGINT);
  EXPECT_EQ(host.finish(), 128 + SIGINT);
}

TEST_F(Supervise, TheGuardEndsAHogWith124) {
  const std::vector<std::string> limits = {"--set", "guard.limit_gb=0.1", "guard.poll_secs=0.05"};
  const Result result = generate("hog 300", limits);
  EXPECT_EQ(result.exit_code, 124);
  EXPECT_THAT(result.err,
              HasSubstr("[guard] limit=0.1 GiB (102 MiB) over=0 s poll=0.05 s sensors=guard-host\n"));
  EXPECT_THAT(result.err,
              testing::ContainsRegex("limit=102 MiB rule=(tree_limit|predicted); killing 1 processes\n"));
  EXPECT_THAT(result.err,
              testing::ContainsRegex("\\[guard\\] running: .*fake_engine guard_pid=[0-9]+ child_pid="));
  EXPECT_THAT(result.err, HasSubstr("[guard] peak tree="));
}

TEST_F(Supervise, TheGuardSeesAndEndsDaemons) {
  const Result result = generate("nested-hog 200", {"--set", "guard.limit_gb=0.1", "guard.poll_secs=0.05"});
  EXPECT_EQ(result.exit_code, 124);
  EXPECT_THAT(result.err, HasSubstr("killing 2 processes"));
}

TEST_F(Supervise, TheGuardActsWhileTheEngineIsStopped) {
  auto arguments = place_.generate(
      "hog 150", {"--set", "guard.limit_gb=0.1", "guard.poll_secs=0.05", "guard.over_secs=1"});
  Started host(arguments, false);
  ASSERT_TRUE(host.wait_for("[guard] limit="));
  const auto children = children_of(host.pid());
  ASSERT_EQ(children.size(), 1U);
  ::poll(nullptr, 0, 500);
  ::kill(children[0], SIGSTOP);
  EXPECT_EQ(host.finish(), 124) << host.seen();
}

TEST_F(Supervise, InTheSoftStageTheEngineIsAskedAndItsAnswerSaid) {
  const Result result =
      generate("soft 120", {"--set", "guard.limit_gb=0.5", "guard.soft_gb=0.1", "guard.poll_secs=0.05"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("asked 1 limit 536870912"));
  EXPECT_THAT(result.err,
              testing::ContainsRegex("\\[guard\\] soft limit passed: tree_mem=[0-9]+ MiB soft=102 MiB; the "
                                     "engine is asked to give memory back\n"));
  EXPECT_THAT(result.err, testing::ContainsRegex("soft stage: the engine gave back 64 MiB in [0-9]+ ms"));
  EXPECT_THAT(result.err, testing::ContainsRegex("\\[guard\\] peak .* at=turn 1"));
}

// A run under `host guard`: what its engine is told is what it will be held to, and it hears of the soft
// stage.
TEST_F(Supervise, UnderAnotherGuardTheEngineIsToldTheStricterLimit) {
  const auto below = [&](std::vector<std::string> outer, const std::string& order, const char* inner) {
    std::vector<std::string> arguments = {"guard", "--poll-secs", "0.05"};
    arguments.insert(arguments.end(), outer.begin(), outer.end());
    arguments.insert(arguments.end(), {"--", host_file()});
    for (const std::string& one : place_.generate(order, {"--set", std::string("guard.limit_gb=") + inner}))
      arguments.push_back(one);
    return run_host(arguments);
  };
  for (const auto& [outer, inner] : {std::pair("0.5", "1"), std::pair("1", "0.5")}) {
    const Result result = below({"--limit-gb", outer}, "echo", inner);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    EXPECT_THAT(result.out, HasSubstr("\"limit_bytes\":536870912")) << outer;
  }
  const Result asked = below({"--limit-gb", "0.5", "--soft-gb", "0.1"}, "soft 120", "1");
  EXPECT_EQ(asked.exit_code, 0) << asked.err;
  EXPECT_THAT(asked.out, HasSubstr("asked 1 limit 536870912"));
}

TEST_F(Supervise, WithoutALimitTheRunSaysSo) {
  const Result result = generate("echo");
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.err, HasSubstr("[guard] no limit set: only the floor of 512 MiB"));
}

TEST_F(Supervise, ImpossibleLimitsAreRefusedBeforeTheStart) {
  const Result result = generate("echo", {"--set", "guard.limit_gb=900000"});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_EQ(result.out, "");
  EXPECT_THAT(result.err, HasSubstr("is more than the"));
  EXPECT_EQ(generate("echo", {"--set", "guard.host_floor_gb=900000"}).exit_code, 1);
  EXPECT_EQ(generate("echo", {"--set", "guard.sensors=[guard-nowhere]"}).exit_code, 3);
}

TEST_F(Supervise, GuardRunsAnyCommand) {
  Result result = run_host({"guard", "--limit-gb", "1", "--", "sh", "-c", "echo out; echo err >&2; exit 9"});
  EXPECT_EQ(result.exit_code, 9);
  EXPECT_EQ(result.out, "out\n");
  EXPECT_THAT(result.err, HasSubstr("[guard] limit=1 GiB (1024 MiB)"));
  result = run_host({"guard", "--limit-gb", "none", "--", "sh", "-c", "kill -SEGV $$"});
  EXPECT_EQ(result.exit_code, 128 + SIGSEGV);
  result = run_host({"guard", "--", "no-such-program-here"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("cannot start 'no-such-program-here': No such file or directory"));
  result = run_host({"guard", "--limit-gb", "0.05", "--poll-secs", "0.05", "--", "sh", "-c",
                     "head -c 200000000 /dev/zero | tail | sleep 30"});
  EXPECT_EQ(result.exit_code, 124);
}

}  // namespace
}  // namespace tetrad::e2e

// What the runner makes of a case that fails, skips, crashes, hangs, exits or prints, without any plugin.
#include "check/runner.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <string>

namespace tetrad::check {
namespace {

Outcome run(std::function<Result()> body, bool twice = false, double deadline = 20) {
  return run_isolated({"case", std::move(body), twice}, deadline);
}

TEST(Runner, ReportsWhatACaseFound) {
  const Outcome pass = run([]() -> Result { return {"seen", {{"ratio", 0.5}}, {}}; });
  EXPECT_EQ(pass.verdict, Verdict::pass);
  EXPECT_EQ(pass.detail, "seen");
  EXPECT_EQ(pass.figures.at("ratio"), 0.5);
  const Outcome fail = run([]() -> Result { throw Failure("wrong by two"); });
  EXPECT_EQ(fail.verdict, Verdict::fail);
  EXPECT_EQ(fail.detail, "wrong by two");
  EXPECT_EQ(run([]() -> Result { throw Skip("nothing here"); }).verdict, Verdict::skip);
  EXPECT_EQ(run([]() -> Result { throw std::runtime_error("unforeseen"); }).verdict, Verdict::fail);
}

TEST(Runner, ACrashEndsTheCaseAlone) {
  const Outcome crash = run([]() -> Result {
    std::fprintf(stderr, "before\n");
    ::raise(SIGSEGV);
    return {};
  });
  EXPECT_EQ(crash.verdict, Verdict::crash);
  EXPECT_NE(crash.detail.find("SIGSEGV"), std::string::npos) << crash.detail;
  EXPECT_NE(crash.log.find("before"), std::string::npos) << crash.log;
  const Outcome killed = run([]() -> Result {
    ::raise(SIGKILL);
    return {};
  });
  EXPECT_EQ(killed.verdict, Verdict::crash);
  EXPECT_NE(killed.detail.find("signal 9"), std::string::npos) << killed.detail;
  const Outcome exited = run([]() -> Result { ::_exit(0); });
  EXPECT_EQ(exited.verdict, Verdict::crash);
  EXPECT_NE(exited.detail.find("exit code 0"), std::string::npos) << exited.detail;
}

TEST(Runner, AHangEndsAtTheDeadline) {
  const Outcome hang = run(
      []() -> Result {
        for (;;) ::pause();
      },
      false, 0.3);
  EXPECT_EQ(hang.verdict, Verdict::hang);
  const Outcome stubborn = run(
      []() -> Result {
        ::signal(SIGABRT, SIG_IGN);
        for (;;) ::pause();
      },
      false, 0.3);
  EXPECT_EQ(stubborn.verdict, Verdict::hang);
}

TEST(Runner, WhatACaseStartedEndsWithIt) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const int write_end = ends[1];
  const Outcome outcome = run([write_end]() -> Result {
    // The case's own descriptors are closed; a child that lives on must not keep the runner waiting either.
    if (::write(write_end, "x", 1) >= 0) throw Failure("a descriptor of the parent is open in the case");
    if (::fork() == 0) {
      for (;;) ::pause();
    }
    return {};
  });
  EXPECT_EQ(outcome.verdict, Verdict::pass) << outcome.detail;
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST(Runner, StandardOutputBelongsToTheHost) {
  const Outcome outcome = run([]() -> Result {
    std::printf("hello\n");
    return {};
  });
  EXPECT_EQ(outcome.verdict, Verdict::fail);
  EXPECT_NE(outcome.detail.find("hello"), std::string::npos) << outcome.detail;
}

TEST(Runner, TwoProcessesMustAgree) {
  const auto same = []() -> Result { return {"", {}, "abc"}; };
  EXPECT_EQ(run(same, true).verdict, Verdict::pass);
  const auto different = []() -> Result { return {"", {}, std::to_string(::getpid())}; };
  const Outcome outcome = run(different, true);
  EXPECT_EQ(outcome.verdict, Verdict::fail);
  EXPECT_NE(outcome.detail.find("two processes"), std::string::npos) << outcome.detail;
}

}  // namespace
}  // namespace tetrad::check

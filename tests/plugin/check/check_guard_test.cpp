// `host plugins check` on guard sensors: the shipped ones pass, also with a driver that is a fake, and each
// defect of the fixture is found by the case that is there for it.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "run_check.h"
#include "support/temp_dir.h"

namespace {

using nlohmann::json;

struct Answer : tetrad::check_tests::Output {
  json document;
  std::vector<std::string> failed;  // "case=verdict"
  std::string details;
};

Answer check(const std::string& arguments) {
  Answer answer{tetrad::check_tests::run_check(arguments + " --json"), {}, {}, {}};
  answer.document = json::parse(answer.text, nullptr, false);
  if (!answer.document.is_object()) return answer;
  for (const json& each : answer.document.at("cases")) {
    const auto verdict = each.at("verdict").get<std::string>();
    if (verdict == "pass" || verdict == "skip") continue;
    answer.failed.push_back(each.at("name").get<std::string>() + "=" + verdict);
    answer.details += each.at("detail").get<std::string>() + "\n";
  }
  return answer;
}

void expect_found(const std::string& fault, const std::string& name, const std::string& verdict,
                  const std::string& words, const std::string& more = "") {
  SCOPED_TRACE("fault " + fault);
  const Answer answer =
      check(TETRAD_FIXTURES "/check/check-guard.so --option fault=" + fault + " --case guard/" + name + more);
  EXPECT_EQ(answer.exit_code, 3) << answer.text;
  EXPECT_EQ(answer.failed, std::vector<std::string>{"guard/" + name + "=" + verdict}) << answer.text;
  EXPECT_NE(answer.details.find(words), std::string::npos) << answer.details;
}

// Verdicts of all cases, in their order.
std::string verdicts(const Answer& answer) {
  std::string all;
  if (!answer.document.is_object()) return answer.text;
  for (const json& each : answer.document.at("cases"))
    all += each.at("name").get<std::string>() + "=" + each.at("verdict").get<std::string>() + " ";
  return all;
}

TEST(CheckGuard, TheShippedSensorOfTheHostPasses) {
  const Answer answer = check("guard-host");
  EXPECT_EQ(answer.exit_code, 0) << answer.text;
  EXPECT_EQ(verdicts(answer),
            "open=pass guard/probe=pass guard/readings=pass guard/shares=pass guard/identity=pass "
            "guard/restraint=pass "
            "guard/many=pass guard/helper=pass ");
}

TEST(CheckGuard, TheFixtureWithoutAFaultPasses) {
  const Answer answer = check(TETRAD_FIXTURES "/check/check-guard.so");
  EXPECT_EQ(answer.exit_code, 0) << answer.text;
  EXPECT_EQ(verdicts(answer).find("skip"), std::string::npos) << verdicts(answer);
}

TEST(CheckGuard, WithoutADriverTheRestIsSkippedWithTheReason) {
  const Answer answer = check("guard-nvml --option library=libno-such-driver.so.1");
  EXPECT_EQ(answer.exit_code, 0) << answer.text;
  EXPECT_NE(answer.text.find("there is nothing to observe here: "), std::string::npos) << answer.text;
  EXPECT_NE(verdicts(answer).find("guard/readings=skip"), std::string::npos) << verdicts(answer);
  EXPECT_EQ(check(TETRAD_FIXTURES "/check/check-guard.so --option fault=nothing_here").exit_code, 0);
}

TEST(CheckGuard, TheSensorOfDriversPassesAndAHangingDriverIsFound) {
  const tetrad::test::TempDir folder;
  const std::string script = (folder / "script").string();
  ::setenv("FAKE_NVML_FILE", script.c_str(), 1);
  const std::string nvml = "guard-nvml --option library=" FAKE_NVML_LIBRARY;
  std::ofstream(script) << "memory 8589934592 6442450944\nrow 1 1073741824\n";
  Answer answer = check(nvml);
  EXPECT_EQ(answer.exit_code, 0) << answer.text;
  EXPECT_EQ(verdicts(answer),
            "open=pass guard/probe=pass guard/readings=pass guard/shares=skip guard/identity=skip "
            "guard/restraint=pass "
            "guard/many=pass guard/helper=pass ");
  // What a driver makes up is kept back by the sensor: unknown, not 0 and not a number beyond all.
  std::ofstream(script) << "memory 5 9\nrow 0 0\nrow 77 18446744073709551614\nrow 78 na\n";
  answer = check(nvml + " --case 'guard/[rh]e*'");
  EXPECT_EQ(answer.exit_code, 0) << answer.text;
  std::ofstream(script) << "hang\n";
  answer = check(nvml + " --case guard/readings --timeout 3");
  EXPECT_EQ(answer.failed, std::vector<std::string>{"guard/readings=hang"}) << answer.text;
  ::unsetenv("FAKE_NVML_FILE");
}

TEST(CheckGuard, ASensorThatHangsCrashesOrIsLateIsFound) {
  expect_found("hangs", "readings", "hang", "", " --timeout 3");
  expect_found("crashes", "readings", "crash", "");
  expect_found("slow", "readings", "fail", "after 2 s the guard ends the helper");
  expect_found("fails_silently", "readings", "fail", "without a word about why");
  expect_found("crashes", "helper", "crash", "");
}

TEST(CheckGuard, WhatCannotBeTrueIsFound) {
  expect_found("zero_for_unknown", "readings", "fail",
               "its total memory is 0: what is not observed is left out");
  expect_found("zero_row", "readings", "fail", "the row of pid 1 is 0");
  expect_found("not_available", "readings", "fail", "a driver's word for 'not available'?");
  expect_found("more_than_there_is", "readings", "fail", "are used of");
  expect_found("pid_0", "readings", "fail", "is no process");
  expect_found("future", "readings", "fail", "is of the future");
  expect_found("old_rows", "readings", "fail", "s old");
  expect_found("rows_and_unknown", "readings", "fail", "says that they are unknown");
  expect_found("another_device", "readings", "fail", "two readings are of other devices");
  expect_found("two_of_a_name", "readings", "fail", "two devices are called 'GPU-1'");
  expect_found("lines", "readings", "fail", "problem is more than one line");
  expect_found("pressure", "readings", "fail", "memory pressure of 250 percent");
  expect_found("zero_share", "readings", "fail", "is 0: what is not observed");
}

TEST(CheckGuard, WhatItSaysOfKnownMemoryIsHeldAgainstIt) {
  expect_found("half_the_share", "shares", "fail", "has a share of");
  expect_found("counts_shared_pages_twice", "shares", "fail", "shared pages count once");
  expect_found("others_too", "shares", "fail", "not asked about");
  expect_found("trusts_numbers", "identity", "fail", "compare start_ticks");
  expect_found("reads_at_every_call", "restraint", "fail", "twice a second is enough");
}

TEST(CheckGuard, TheFirstWordIsChecked) {
  expect_found("says_nothing", "probe", "fail", "left `evidence` empty");
  expect_found("refuses_silently", "probe", "fail", "refused without a word about why");
}

}  // namespace

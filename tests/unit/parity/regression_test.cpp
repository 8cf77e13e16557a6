// What got worse between two reports.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "parity/report/report.h"
#include "rich_report.h"

namespace tetrad::parity {
namespace {

using nlohmann::json;
using test::rich_report;
using ::testing::HasSubstr;

std::vector<std::string> figures(const json& list) {
  std::vector<std::string> result;
  for (const json& one : list) result.push_back(one["figure"]);
  return result;
}

TEST(Regression, TheSameIsNone) {
  const json report = rich_report();
  const json result = compare_reports(report, report);
  EXPECT_EQ(result["exit_code"], 0);
  EXPECT_TRUE(result["regressions"].empty());
  EXPECT_TRUE(result["notes"].empty());
  EXPECT_THAT(terminal_regression(result, Language::english, 80, false), HasSubstr("Nothing got worse"));
}

TEST(Regression, WorseBeyondNoise) {
  const json before = rich_report();
  json after = before;
  json& arm = after["arms"][1];
  arm["against_reference"]["kl_max"] = 1e3;
  arm["figures"]["timing"]["decode_tok_s"] = 30;
  arm["figures"]["timing"]["prefill_tok_s"] = 890;  // noise
  arm["verdict"]["word"] = "fail";
  json result = compare_reports(before, after);
  EXPECT_EQ(result["exit_code"], 1);
  EXPECT_THAT(figures(result["regressions"]), ::testing::UnorderedElementsAre("verdict", "kl_max", "decode"));
  EXPECT_THAT(terminal_regression(result, Language::traditional_chinese, 80, false),
              HasSubstr("有 3 項數字變差"));
  result = compare_reports(after, before);  // the other way it is better
  EXPECT_EQ(result["exit_code"], 0);
  EXPECT_EQ(result["improvements"].size(), 3U);
}

TEST(Regression, ArmsThatAreGoneOrNew) {
  const json before = rich_report();
  json after = before;
  after["arms"].erase(1);
  EXPECT_EQ(compare_reports(before, after)["exit_code"], 1);
  const json back = compare_reports(after, before);
  EXPECT_EQ(back["exit_code"], 0);
  EXPECT_EQ(back["notes"][0]["code"], "new_arm");
}

TEST(Regression, OtherTokensLeaveOnlyTheMachinesFigures) {
  const json before = rich_report();
  json after = before;
  after["script"]["ids"][0] = 6;
  after["arms"][1]["against_reference"]["kl_max"] = 1e3;
  after["arms"][1]["figures"]["memory"]["host_peak_bytes"] = 4e9;
  const json result = compare_reports(before, after);
  EXPECT_THAT(figures(result["regressions"]), ::testing::ElementsAre("host_memory"));
  EXPECT_EQ(result["notes"][0]["code"], "other_script");
  EXPECT_THAT(terminal_regression(result, Language::english, 80, true), HasSubstr("scored different tokens"));
}

}  // namespace
}  // namespace tetrad::parity

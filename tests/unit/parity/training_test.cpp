// Training parity: losses and the first update.
#include "parity/compare/training.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <tetrad/base/error.h>

#include "parity/compare/compare.h"
#include "synthetic.h"

namespace tetrad::parity {
namespace {

using nlohmann::json;
using test::Matrix;
using test::SyntheticFolder;

struct Runs : SyntheticFolder {
  Runs() {
    add_arm("adamw");
    add_arm("other", json::array({{{"key", "linear.plugin"}, {"a", "x"}, {"b", "y"}, {"swept", true}}}));
    for (json& record : records) {
      record["training"] = {
          {"losses", {2.5, 2.0, 1.5}}, {"steps", 3}, {"updates_file", "updates.safetensors"}};
    }
    script = nullptr;
    updates(0, {{"a", {1, 2, {3, 4}}}, {"b", {1, 2, {0, 0}}}});
    updates(1, {{"a", {1, 2, {3, 4}}}, {"b", {1, 2, {0, 0}}}});
  }
  json arm() { return make_report(write())["arms"][1]; }
};

TEST(Training, EqualRunsPass) {
  Runs runs;
  const json arm = runs.arm();
  EXPECT_EQ(arm["verdict"]["word"], "pass") << arm["verdict"];
  EXPECT_EQ(arm["against_reference"]["training"]["update_error"], 0);
  EXPECT_EQ(arm["against_reference"]["training"]["update_cosine"], 1);
}

TEST(Training, UpdatesByHand) {
  Runs runs;
  runs.updates(1, {{"a", {1, 2, {3, 0}}}, {"b", {1, 2, {0, 1}}}});
  const json t = runs.arm()["against_reference"]["training"];
  EXPECT_DOUBLE_EQ(t["updates"][0]["error"], 0.8);  // |(0, 4)| / |(3, 4)|
  EXPECT_DOUBLE_EQ(t["updates"][0]["cosine"], 0.6);
  EXPECT_TRUE(t["updates"][1]["error"].is_null());  // of an update of 0
  EXPECT_DOUBLE_EQ(t["update_error"], std::sqrt(17.0) / 5);
}

TEST(Training, LossesByHand) {
  Runs runs;
  runs.records[1]["training"]["losses"] = {2.5, 2.2, 1.5};
  const json t = runs.arm()["against_reference"]["training"];
  EXPECT_EQ(t["first_relative"], 0);
  EXPECT_NEAR(t["max_relative"], 0.1, 1e-12);
  EXPECT_EQ(t["max_step"], 2);
}

TEST(Training, TheFirstLossIsBoundByTheContract) {
  Runs runs;
  runs.records[1]["training"]["losses"][0] = 2.8;
  const json arm = runs.arm();
  EXPECT_EQ(arm["verdict"]["reasons"][0]["code"], "first_loss_above");
}

TEST(Training, AnUpdateInAnotherDirectionFailsUnlessTheOptimizerDiffers) {
  Runs runs;
  runs.updates(1, {{"a", {1, 2, {-3, -4}}}, {"b", {1, 2, {0, 0}}}});
  EXPECT_EQ(runs.arm()["verdict"]["reasons"][0]["code"], "update_above");
  runs.plan["arms"][1]["differs"][0]["key"] = "train.optimizer.plugin";
  EXPECT_EQ(runs.arm()["verdict"]["word"], "pass");
  runs.plan["settings"]["tolerance"] = {{"update", 0.5}};
  EXPECT_EQ(runs.arm()["verdict"]["word"], "fail");
}

TEST(Training, OtherParametersOrSteps) {
  Runs runs;
  runs.updates(1, {{"a", {1, 2, {3, 4}}}});
  runs.records[1]["training"]["losses"] = {2.5, 2.0};
  std::vector<std::string> codes;
  const json arm = runs.arm();
  for (const json& reason : arm["verdict"]["reasons"]) codes.push_back(reason["code"]);
  EXPECT_THAT(codes, ::testing::UnorderedElementsAre("other_steps", "other_parameters"));
}

TEST(Training, OnlyOneTrains) {
  Runs runs;
  runs.records[1]["training"] = nullptr;
  EXPECT_EQ(runs.arm()["verdict"]["reasons"][0]["code"], "only_one_trains");
}

TEST(Training, AnotherShapeIsRefused) {
  Runs runs;
  runs.updates(1, {{"a", {2, 1, {3, 4}}}});
  EXPECT_THROW(make_report(runs.write()), Error);
}

TEST(Training, Sentences) {
  Runs runs;
  runs.records[1]["training"]["losses"] = {2.5, 2.2, 1.5};
  runs.updates(1, {{"a", {1, 2, {3, 4.5F}}}, {"b", {1, 2, {0, 0}}}});
  const json s = make_report(runs.write())["sentences"]["en"];
  EXPECT_THAT(s[0].get<std::string>(), ::testing::HasSubstr("3 training steps"));
  EXPECT_THAT(s[1].get<std::string>(), ::testing::HasSubstr("step 2, 'other'"));
  EXPECT_THAT(s[1].get<std::string>(), ::testing::HasSubstr("first update most in a (0.1 of its size)"));
}

}  // namespace
}  // namespace tetrad::parity

// plan.json: what is written reads back; what is cut short or altered is one error that names the file.
#include "parity/plan/plan.h"

#include "support/error_text.h"
#include "support/temp_dir.h"

#include <gtest/gtest.h>

#include <fstream>
#include <functional>

namespace tetrad::parity {
namespace {

using nlohmann::json;
using tetrad::test::error_text;

json config(const char* path) {
  return {{"path", path},
          {"chat", {{"system", nullptr}}},
          {"parity",
           {{"logits_file", nullptr},
            {"train_steps", 0},
            {"prompts", {"x"}},
            {"reference", nullptr},
            {"against", nullptr}}}};
}

Plan example() {
  Plan plan;
  plan.name = "x";
  plan.created_utc = "20260101T000000Z";
  plan.swept = {"path"};
  plan.sets = {"chat.system=x"};
  plan.plugin_paths = {"/p"};
  plan.working_directory = "/w";
  for (const char* path : {"training", "bridge"}) {
    Arm arm;
    arm.index = plan.arms.size();
    arm.label = std::string("path=") + path;
    arm.folder = "arms/0" + std::to_string(arm.index) + "-" + path;
    arm.config_files = {"/c.yaml"};
    arm.combination.values = {{"path", path}};
    arm.config_hash = "h" + std::to_string(arm.index);
    arm.config = config(path);
    plan.arms.push_back(arm);
  }
  Arm broken;
  broken.index = 2;
  broken.label = "linear=none";
  broken.folder = "arms/02-none";
  broken.error = "no such plugin";
  broken.error_code = 3;
  plan.arms.push_back(broken);
  plan.reference = 0;
  compare_configs(plan);
  return plan;
}

TEST(Plan, ReadsBackAsWritten) {
  const tetrad::test::TempDir folder;
  const Plan plan = example();
  const json written = to_json(plan);
  folder.write("plan.json", written.dump(1));
  EXPECT_EQ(to_json(read_plan(folder.path())), written);
  ASSERT_EQ(plan.arms[1].differs.size(), 1U);
  EXPECT_TRUE(plan.arms[0].differs.empty());
  EXPECT_EQ(plan.arms[1].differs[0].key, "path");
  EXPECT_TRUE(plan.arms[1].differs[0].swept);
  EXPECT_EQ(written.at("arms").at(1).at("sets"), json({"path=bridge"}));
  EXPECT_EQ(written.at("arms").at(2).at("error"), "no such plugin");
}

TEST(Plan, AnArmMayBeComparedWithAnother) {
  Plan plan = example();
  Arm third = plan.arms[1];
  third.index = 3;
  third.label = "third";
  third.config["parity"]["against"] = "path=bridge";
  plan.arms.push_back(third);
  compare_configs(plan);
  EXPECT_EQ(plan.arms[3].against, 1U);
  EXPECT_TRUE(plan.arms[3].differs.empty()) << "from that arm, not from the reference";
  EXPECT_FALSE(plan.arms[1].against);
  const tetrad::test::TempDir folder;
  folder.write("plan.json", to_json(plan).dump());
  EXPECT_EQ(read_plan(folder.path()).arms[3].against, 1U);
  plan.arms[3].config["parity"]["against"] = "third";
  compare_configs(plan);
  EXPECT_EQ(plan.arms[3].against, 3U) << "a second reference";
  const auto error = [&](const char* against) {
    plan.arms[3].config["parity"]["against"] = against;
    return error_text([&] { compare_configs(plan); });
  };
  EXPECT_EQ(error("linear=none"), "[parity] parity.against of arm 'third': 'linear=none' cannot be run");
  EXPECT_NE(error("none").find("[parity] parity.against: no arm is called 'none'"), std::string::npos);
}

TEST(Plan, CutShortAnywhereIsRefused) {
  const tetrad::test::TempDir folder;
  const std::string text = to_json(example()).dump();
  for (std::size_t length = 0; length < text.size(); length += 7) {
    folder.write("plan.json", text.substr(0, length));
    const std::string error = error_text([&] { read_plan(folder.path()); });
    ASSERT_NE(error.find("plan.json' is not a usable plan"), std::string::npos) << length << ": " << error;
  }
}

TEST(Plan, ContradictionsAreRefused) {
  const tetrad::test::TempDir folder;
  const auto error = [&](const std::function<void(json&)>& alter) {
    json plan = to_json(example());
    alter(plan);
    folder.write("plan.json", plan.dump());
    return error_text([&] { read_plan(folder.path()); });
  };
  const auto has = [](const std::string& text, const char* part) {
    return text.find(part) != std::string::npos;
  };
  EXPECT_TRUE(has(error([](json& p) { p["format"] = "other"; }), "another format"));
  EXPECT_TRUE(has(error([](json& p) { p["version"] = 2; }), "version 2"));
  EXPECT_TRUE(has(error([](json& p) { p["reference"] = 3; }), "reference is not one of its arms"));
  EXPECT_TRUE(has(error([](json& p) { p["arms"] = json::array(); }), "reference is not one of its arms"));
  EXPECT_TRUE(has(error([](json& p) { p["arms"][1]["index"] = 0; }), "not numbered"));
  for (const char* folder_name :
       {"../x", "/etc", "arms/..", "arms/../x", "arms", "other/x", "arms/a/b", ""}) {
    EXPECT_TRUE(has(error([&](json& p) { p["arms"][1]["folder"] = folder_name; }), "not below arms/"))
        << folder_name;
  }
  EXPECT_TRUE(has(error([](json& p) { p["arms"][1]["config"] = nullptr; }), "arm 1 has no config"));
  EXPECT_TRUE(has(error([](json& p) { p.erase("sets"); }), "sets"));
  EXPECT_TRUE(has(error([](json& p) { p["arms"][1]["against"] = 9; }), "arm 1 is compared with 9"));
  EXPECT_EQ(error([](json&) {}), "no error");
}

TEST(Plan, NoPlanAtAll) {
  const tetrad::test::TempDir folder;
  EXPECT_NE(error_text([&] { read_plan(folder.path()); }).find("it has no plan.json"), std::string::npos);
}

TEST(Plan, TheReferenceByLabelOrNumber) {
  const Plan plan = example();
  EXPECT_EQ(find_arm(plan.arms, nullptr), 0U);
  EXPECT_EQ(find_arm(plan.arms, "path=bridge"), 1U);
  EXPECT_EQ(find_arm(plan.arms, "2"), 2U);
  for (const char* wrong : {"3", "-1", "path", "1x", ""}) {
    const std::string error = error_text([&] { find_arm(plan.arms, wrong); });
    EXPECT_NE(error.find("the arms are:\n  0  path=training\n  1  path=bridge"), std::string::npos) << wrong;
  }
}

}  // namespace
}  // namespace tetrad::parity

// Listing and finding runs, among folders that are no runs and files that are broken.
#include "runs/store.h"
#include "runs/folder.h"
#include "support/error_text.h"
#include "support/temp_dir.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tetrad::runs {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using test::error_text;
using test::TempDir;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> names(const Listing& listing) {
  std::vector<std::string> out;
  for (const Entry& run : listing.runs) out.push_back(run.name);
  return out;
}

fs::path finished(const TempDir& place, std::int64_t when, const std::string& name, int code = 0) {
  const Folder folder = Folder::create(
      place.path(), name, when, {"", {{"command", "chat"}, {"config_file", "configs/" + name + ".yaml"}}});
  Ending ending;
  ending.state = code == 0 ? "ok" : "failed";
  ending.exit_code = code;
  folder.finish(ending, when + 1, Language::english);
  return folder.path();
}

TEST(RunStore, TheNewestComeFirst) {
  const TempDir place;
  finished(place, 100, "b");
  finished(place, 50, "z", 4);
  finished(place, 200, "a");
  fs::create_directory(place / "not-a-run");
  place.write("20251124T160000Z", "");
  place.write("2025112xT160000Z-a/config.json", "{}");
  const Listing all = list_runs(place.path(), 0);
  EXPECT_THAT(names(all), ElementsAre("19700101T000320Z-a", "19700101T000140Z-b", "19700101T000050Z-z"));
  EXPECT_EQ(all.older, 0U);
  EXPECT_EQ(all.runs[0].task, "chat");
  EXPECT_EQ(all.runs[0].config, "configs/a.yaml");
  EXPECT_EQ(all.runs[0].started_utc, "19700101T000320Z");
  EXPECT_EQ(all.runs[2].state, "failed");
  EXPECT_EQ(all.runs[2].exit_code, 4);
  EXPECT_EQ(all.runs[2].tok_s, std::nullopt);
  const Listing few = list_runs(place.path(), 2);
  EXPECT_THAT(names(few), ElementsAre("19700101T000320Z-a", "19700101T000140Z-b"));
  EXPECT_EQ(few.older, 1U);
  EXPECT_TRUE(list_runs(place / "absent", 0).runs.empty());
}

TEST(RunStore, RunsOfOneSecondAreInTheirOrder) {
  const TempDir place;
  std::vector<std::string> made;
  for (const char* name : {"longest-of-all", "b", "c", "b", "b"}) {
    made.insert(made.begin(), finished(place, 7, name).filename().string());
    const auto now = fs::file_time_type::clock::now();  // a coarse clock must not hide the order
    fs::last_write_time(place / made.front() / "config.yaml",
                        now + std::chrono::seconds(static_cast<long>(made.size())));
  }
  EXPECT_EQ(names(list_runs(place.path(), 0)), made);
  EXPECT_EQ(find_run(place.path(), "latest").filename(), made.front());
}

TEST(RunStore, CutOffAndRunningRunsAreToldApart) {
  const TempDir place;
  const Folder held = Folder::create(place.path(), "held", 9, {"", {{"command", "eval"}}});
  { const Folder cut = Folder::create(place.path(), "cut", 8, {"", {{"command", "eval"}}}); }
  place.write("19700101T000005Z-broken/config.json", "{\"command\": 7");
  place.write("19700101T000005Z-broken/status.json", "{\"state\": 7}");
  const Listing all = list_runs(place.path(), 0);
  ASSERT_EQ(all.runs.size(), 3U);
  EXPECT_EQ(all.runs[0].state, "running");
  EXPECT_EQ(all.runs[1].state, "lost");
  EXPECT_EQ(all.runs[2].state, "lost");
  EXPECT_EQ(all.runs[2].config, "broken");
  EXPECT_EQ(all.runs[2].task, "");
  EXPECT_TRUE(read_run(all.runs[2].folder).at("description").is_null());
}

TEST(RunStore, ARunIsFoundByNameBeginningOrPath) {
  const TempDir place;
  const fs::path a = finished(place, 100, "a");
  const fs::path b = finished(place, 200, "b");
  const fs::path runs = place.path();
  EXPECT_EQ(find_run(runs, "latest"), b);
  EXPECT_EQ(find_run(runs, "19700101T000140Z-a"), a);
  EXPECT_EQ(find_run(runs, "19700101T00014"), a);
  EXPECT_EQ(find_run("/nowhere", a.string()), a);
  EXPECT_EQ(find_run("/nowhere", a.string() + "/"), a);
  EXPECT_THAT(error_text([&] { find_run(runs, "1970"); }),
              AllOf(HasSubstr("the beginning of 2 runs"), HasSubstr("from 19700101T000140Z-a to")));
  EXPECT_THAT(error_text([&] { find_run(runs, "19700101T000140Z-e"); }),
              HasSubstr("did you mean '19700101T000140Z-a'?"));
  EXPECT_THAT(error_text([&] { find_run(runs, ""); }), HasSubstr("'host runs list' shows them"));
  EXPECT_THAT(error_text([&] { find_run(runs, runs.string()); }), HasSubstr("is not the folder of a run"));
  EXPECT_THAT(error_text([&] { find_run(place / "none", "latest"); }), HasSubstr("there are no runs in"));
}

TEST(RunStore, SpeedIsOverAllTurnsOrTheEvaluation) {
  const auto rate = [](const char* record) { return tokens_per_second({{"record", json::parse(record)}}); };
  EXPECT_EQ(rate("null"), json());
  EXPECT_EQ(rate("{}"), json());
  EXPECT_EQ(rate(R"({"turns": [{"decoded_tokens": 0, "decode_s": 0}]})"), json());
  EXPECT_EQ(
      rate(R"({"turns": [{"decoded_tokens": 9, "decode_s": 1}, {"decoded_tokens": 1, "decode_s": 1}]})"),
      5.0);
  EXPECT_EQ(rate(R"({"turns": [], "result": {"tok_s": 70.5}})"), 70.5);
}

}  // namespace
}  // namespace tetrad::runs

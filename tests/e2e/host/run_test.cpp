// What the engine is told, what is stored with a run, and the doctor's answer.
#include "launcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include <filesystem>
#include <fstream>

namespace tetrad::e2e {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;

json told(const std::vector<std::string>& arguments) {
  const Result result = run_host(arguments);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  return json::parse(result.out, nullptr, false);
}

std::string read_file(const fs::path& file) {
  std::ifstream in(file);
  return {std::istreambuf_iterator<char>(in), {}};
}

TEST(Run, TheEngineIsToldEverything) {
  const Workplace place;
  const json run =
      told(place.generate("echo", {"--json", "--set", "guard.limit_gb=2", "linear.options.level=7"}));
  EXPECT_EQ(run["command"], "generate");
  EXPECT_EQ(run["config_file"], place.path("c.yaml"));
  EXPECT_EQ(run["config_hash"].get<std::string>().size(), 64U);
  EXPECT_EQ(run["config"]["linear"]["options"]["level"], 7);
  EXPECT_EQ(run["config"]["path"], "training") << "defaults are filled in";
  EXPECT_EQ(run["guard"]["limit_bytes"], std::uint64_t{2} << 30);
  EXPECT_EQ(run["args"]["prompt"], "echo");
  EXPECT_EQ(run["args"]["json"], true);
  EXPECT_TRUE(run["run_dir"].is_null());
  ASSERT_EQ(run["plugins"].size(), 2U);
  EXPECT_EQ(run["plugins"][0]["kind"], "linear");
  EXPECT_EQ(run["plugins"][1]["kind"], "kv_cache");
  EXPECT_EQ(run["plugins"][0]["id"], "launcher-fixture");
  EXPECT_TRUE(fs::path(run["plugins"][0]["file"].get<std::string>()).is_absolute());
  EXPECT_TRUE(run["plugins"][0]["metadata"].contains("fingerprint"));
}

TEST(Run, EachCommandHasItsArguments) {
  const Workplace place;
  place.write("text.txt", "echo");
  const std::vector<std::string> common = {"--config", place.path("c.yaml"), "--engine", fake_engine_file()};
  const auto with = [&](std::vector<std::string> words, const std::vector<std::string>& more) {
    words.insert(words.end(), common.begin(), common.end());
    words.insert(words.end(), more.begin(), more.end());
    return words;
  };
  const std::string out = place.path("x.safetensors");
  json run = told(with({"logits"}, {"--prompt", "echo", "--raw", "--out", out}));
  EXPECT_EQ(run["command"], "logits");
  EXPECT_EQ(run["args"]["raw"], true);
  EXPECT_EQ(run["args"]["out"], out);
  run = told(with({"logits"}, {"--ids", "1,2,30", "--out", out, "--set", "chat.prompt=echo"}));
  EXPECT_EQ(run["args"]["ids"], json({1, 2, 30}));
  run = told(with({"eval"}, {"--text", place.path("text.txt"), "--set", "chat.prompt=echo"}));
  EXPECT_EQ(run["command"], "eval");
  EXPECT_EQ(run["args"]["text"], place.path("text.txt"));
  run = told(with({}, {"--set", "chat.prompt=echo"}));
  EXPECT_EQ(run["command"], "chat") << "the config's task";
  EXPECT_EQ(run["args"]["interactive"], false);
  run = told(with({}, {"--set", "chat.prompt=echo", "task=generate"}));
  EXPECT_EQ(run["command"], "generate");
  EXPECT_EQ(run["args"]["prompt"], "echo");

  for (const char* bad : {"", "1,", "1,,2", "a", "1;2", "-1", "1, 2", "99999999999999999999"}) {
    const Result result = run_host(with({"logits"}, {"--out", out, std::string("--ids=") + bad}));
    EXPECT_EQ(result.exit_code, 2) << "'" << bad << "': " << result.err;
  }
  EXPECT_EQ(run_host(with({"logits"}, {"--prompt", "a", "--ids", "1", "--out", out})).exit_code, 2);
  EXPECT_EQ(run_host(with({"logits"}, {"--prompt-file", place.path("none"), "--out", out})).exit_code, 2);
  EXPECT_EQ(run_host(with({"logits"}, {"--prompt", "a", "--out", place.path("none/x")})).exit_code, 2);
  EXPECT_EQ(run_host(with({"eval"}, {})).exit_code, 2);
  EXPECT_EQ(run_host(with({"eval"}, {"--text", place.path("")})).exit_code, 2) << "a folder";
  EXPECT_EQ(run_host(with({}, {"--set", "task=generate"})).exit_code, 2);
}

// Runs host in `folder` as its current directory.
json told_in(const fs::path& folder, const std::vector<std::string>& arguments) {
  const fs::path before = fs::current_path();
  fs::current_path(folder);
  const Result result = run_host(arguments);
  fs::current_path(before);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("[host] config: configs/"));
  return json::parse(result.out, nullptr, false);
}

TEST(Run, ThePredecessorsCommandLinesRunAsTheyAre) {
  const Workplace place;
  const fs::path folder = place.path("");
  fs::create_directory(folder / "configs");
  const std::string config = read_file(folder / "c.yaml");
  place.write("configs/fp2-model.yaml", "path: training\n" + config);
  place.write("configs/bridge.yaml", "path: bridge\n" + config);
  const auto line = [](std::vector<std::string> words) {
    words.insert(words.begin(), {"--engine", fake_engine_file()});
    words.insert(words.end(), {"--set", "chat.prompt=echo"});  // what the stand-in obeys
    return words;
  };
  json run = told_in(folder, line({"--gpu-limit-gb", "108", "--gpu-over-secs", "0", "--gpu-poll-secs", "0.5",
                                   "script", "run-training-fp2.fsx", "--turns=2", "--max-tokens=12",
                                   "--prompt=Write one short sentence about UFO and you.",
                                   "--followup-prompt=continue the previous sentence in one clause.",
                                   "--timing=true", "--check-logits=false", "--stop-here=false"}));
  EXPECT_EQ(run["command"], "chat");
  EXPECT_EQ(run["config_file"], "configs/fp2-model.yaml");
  EXPECT_EQ(run["config"]["chat"]["turns"], 2);
  EXPECT_EQ(run["config"]["chat"]["max_tokens"], 12);
  EXPECT_EQ(run["config"]["chat"]["followup_prompt"], "continue the previous sentence in one clause.");
  EXPECT_EQ(run["config"]["chat"]["after_script"], "end") << "nobody is at a terminal";
  EXPECT_GT(run["guard"]["limit_bytes"], 0) << "108 GiB, or auto on a smaller machine";

  run = told_in(folder, line({"--kvc-backend", "bridge",
                              "--prompt",      "\u4f60\u662f\u8ab0",
                              "--max-tokens",  "24",
                              "--temp",        "0",
                              "--top-p",       "1",
                              "--seed",        "123",
                              "--dtype",       "float16",
                              "--device",      "cpu",
                              "--ignore-eos",  "--ifInteractive",
                              "true",          "--timeout-ms",
                              "60000",         "--tee-object-chat-session",
                              "log/a.txt"}));
  EXPECT_EQ(run["config_file"], "configs/bridge.yaml");
  EXPECT_EQ(run["config"]["path"], "bridge");
  EXPECT_EQ(run["config"]["chat"]["seed"], 123);
  EXPECT_EQ(run["config"]["chat"]["ignore_eos"], true);
  EXPECT_EQ(run["config"]["chat"]["after_script"], "interactive");
  EXPECT_EQ(run["config"]["chat"]["timeout_secs"], 60.0);
  EXPECT_EQ(run["config"]["model"]["dtype"], "float16");

  const Result unused = run_host({"--config", place.path("c.yaml"), "--turns", "3"});
  EXPECT_EQ(unused.exit_code, 2);
  EXPECT_THAT(unused.err, HasSubstr("[cli] --turns belongs to a script of turns"));
  const Result misspelt = run_host({"--kvc-backnd", "bridge"});
  EXPECT_THAT(misspelt.err, HasSubstr("did you mean '--kvc-backend'?"));
}

TEST(Run, AFolderHoldsTheResolvedConfig) {
  const Workplace place;
  const std::string runs = place.path("deep/runs");
  const json first = told(place.generate("echo", {"--set", "run.dir=" + runs}));
  const fs::path folder = first["run_dir"].get<std::string>();
  EXPECT_EQ(folder.parent_path(), runs);
  EXPECT_THAT(folder.filename().string(), testing::MatchesRegex("[0-9]{8}T[0-9]{6}Z-c(-[0-9]+)?"));
  const json stored = json::parse(read_file(folder / "config.json"));
  EXPECT_EQ(stored["config"], first["config"]);
  EXPECT_EQ(stored["config_hash"], first["config_hash"]);
  EXPECT_EQ(stored["command"], "generate");
  EXPECT_EQ(stored["command_line"].back(), "run.dir=" + runs);
  EXPECT_EQ(stored["plugins"][0]["id"], "launcher-fixture");
  EXPECT_FALSE(stored["plugins"][0]["build_id"].get<std::string>().empty());
  EXPECT_EQ(stored["versions"]["protocol"], 1);

  const Result again = run_host({"config", "show", (folder / "config.yaml").string(), "--json"});
  ASSERT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(json::parse(again.out), first["config"]) << "the stored config reads back";

  const json second = told(place.generate("echo", {"--set", "run.dir=" + runs}));
  EXPECT_NE(second["run_dir"], first["run_dir"]);
  const std::string logits_out = place.path("x.safetensors");
  const json logits = told({"logits", "--config", place.path("c.yaml"), "--engine", fake_engine_file(),
                            "--prompt", "echo", "--out", logits_out, "--set", "run.dir=" + runs});
  EXPECT_TRUE(fs::exists(fs::path(logits["run_dir"].get<std::string>()) / "summary.md"));
}

TEST(Run, AFolderThatCannotBeMadeStopsBeforeTheStart) {
  const Workplace place;
  place.write("file", "");
  const Result result = run_host(place.generate("echo", {"--set", "run.dir=" + place.path("file/runs")}));
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_EQ(result.out, "");
  EXPECT_THAT(result.err, HasSubstr("[run] cannot store this run in"));
}

TEST(Run, UnknownPluginsAndMissingEnginesAreNamed) {
  const Workplace place;
  const Result plugin = run_host(place.generate("echo", {"--set", "linear.plugin=launcher-fixtrue"}));
  EXPECT_EQ(plugin.exit_code, 3);
  EXPECT_THAT(plugin.err, HasSubstr("launcher-fixture"));
  const Result engine =
      run_host({"generate", "--config", place.path("c.yaml"), "--prompt", "echo", "--engine", "/nowhere"});
  EXPECT_EQ(engine.exit_code, 1);
  EXPECT_THAT(engine.err, HasSubstr("cannot start '/nowhere': No such file or directory"));
}

TEST(Doctor, AnswersAsJsonAndAsText) {
  const json facts = told({"doctor", "--json", "--engine", fake_engine_file()});
  EXPECT_EQ(facts["engine"]["libtorch"], "9.9.9");
  EXPECT_TRUE(facts["engine"]["problem"].is_null());
  EXPECT_GT(facts["machine"]["memory"]["total_bytes"].get<std::uint64_t>(), 1U << 20);
  EXPECT_TRUE(facts["plugins"].is_array());
  EXPECT_TRUE(facts["gpu"]["gpus"].is_array());
  const Result text = run_host({"doctor", "--engine", fake_engine_file()});
  EXPECT_THAT(text.out, HasSubstr("libtorch: 9.9.9"));
  EXPECT_EQ(text.err, "");
}

TEST(Doctor, AMissingOrSilentEngineIsAFindingNotAFailure) {
  for (const auto& [engine, problem] : std::vector<std::pair<std::string, std::string>>{
           {"/nowhere", "No such file or directory"}, {"/bin/true", "ended before it answered"}}) {
    const json facts = told({"doctor", "--json", "--engine", engine});
    EXPECT_THAT(facts["engine"]["problem"].get<std::string>(), HasSubstr(problem));
  }
  const Workplace place;
  place.write("sleeper", "#!/bin/sh\nexec sleep 60\n");
  fs::permissions(place.path("sleeper"), fs::perms::owner_all);
  const json facts = told({"doctor", "--json", "--engine", place.path("sleeper")});
  EXPECT_THAT(facts["engine"]["problem"].get<std::string>(), HasSubstr("no answer in time"));
}

}  // namespace
}  // namespace tetrad::e2e

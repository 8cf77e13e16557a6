// The command line: help, exact errors with exit code 2, results on stdout and nothing else there.
#include "launcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace tetrad::e2e {
namespace {

using nlohmann::json;
using testing::HasSubstr;

struct Golden {
  std::vector<std::string> arguments;
  std::string error;
};

TEST(Cli, ErrorsAreOneLineWithTheWayOut) {
  const std::vector<Golden> table = {
      {{}, "[cli] nothing to do: give --config FILE or a command; see 'host --help'"},
      {{"foo"}, "[cli] 'host' has no command 'foo'; see 'host --help'"},
      {{"generat", "--config", "x"}, "[cli] 'host' has no command 'generat'; did you mean 'generate'?"},
      {{"--confg", "x"}, "[cli] 'host' has no option '--confg'; did you mean '--config'?"},
      {{"--confg=x"}, "[cli] 'host' has no option '--confg'; did you mean '--config'?"},
      {{"generate", "--config", "x", "--promt", "hi"},
       "[cli] 'host generate' has no option '--promt'; did you mean '--prompt'?"},
      {{"generate", "--config", "x", "--quux"},
       "[cli] 'host generate' has no option '--quux'; see 'host generate --help'"},
      {{"generate", "--config", "x"},
       "[cli] 'host generate': --prompt is required; see 'host generate --help'"},
      {{"chat", "--config"}, "[cli] 'host chat': --config: 1 required FILE missing; see 'host chat --help'"},
      {{"chat", "--config", "x", "stray"},
       "[cli] 'host chat' takes no further argument 'stray'; see 'host chat --help'"},
      {{"plugins", "lst"}, "[cli] 'host plugins' has no command 'lst'; did you mean 'list'?"},
      {{"config", "show"}, "[cli] 'host config show': FILE is required; see 'host config show --help'"},
      {{"tokenize"}, "[cli] 'host tokenize': --model is required; see 'host tokenize --help'"},
      {{"--config", "x", "tokenize", "--model", "y"}, "[cli] 'host tokenize' takes no --config"},
      {{"guard"}, "[cli] 'host guard' needs a command after '--': host guard --limit-gb 8 -- CMD ..."},
      {{"guard", "--limit-gb", "much", "--", "true"},
       "[guard] --limit-gb: 'much' is neither a number of GiB nor auto nor none"},
      {{"doctor", "--", "x"}, "[cli] 'host doctor' runs no other program: nothing may follow '--'"},
      {{"generate", "--config", "x", "--prompt", "a\xff"},
       "[text] the value of --prompt is not valid UTF-8 at byte 1; save or send it as UTF-8"},
  };
  for (const Golden& golden : table) {
    const Result result = run_host(golden.arguments);
    EXPECT_EQ(result.exit_code, 2) << golden.error;
    EXPECT_EQ(result.out, "");
    EXPECT_EQ(result.err, "error: " + golden.error + "\n");
  }
}

TEST(Cli, HelpAndVersionAnswerOnStdout) {
  const Result help = run_host({"--help"});
  EXPECT_EQ(help.exit_code, 0);
  EXPECT_EQ(help.err, "");
  for (const char* command : {"chat", "generate", "eval", "train", "bench", "logits", "gradients", "config",
                              "plugins", "parity", "tokenize", "convert", "guard", "doctor"}) {
    EXPECT_THAT(help.out, HasSubstr(std::string("\n  ") + command + " "));
  }
  EXPECT_THAT(help.out, testing::Not(HasSubstr("--engine")));
  EXPECT_THAT(run_host({"logits", "--help"}).out, HasSubstr("Usage: host logits [OPTIONS]"));
  EXPECT_THAT(run_host({"config", "show", "--help"}).out, HasSubstr("Usage: host config show [OPTIONS]"));
  EXPECT_THAT(run_host({"--version"}).out, testing::MatchesRegex("host [0-9.]+ \\(protocol 1\\)\n"));
}

TEST(Cli, AResultThatCannotBeWrittenIsAFailure) {
  const std::string command = host_file() + " --help > /dev/full";
  const Result result = run_host({"guard", "--limit-gb", "none", "--", "sh", "-c", command});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("error: [host] the result could not be written to standard output"));
}

TEST(Cli, ClosedStandardStreamsHarmNobody) {
  const Workplace place;
  const std::string command = host_file() + " generate --config " + place.path("c.yaml") + " --engine " +
                              fake_engine_file() + " --prompt read <&- 2>&-";
  const Result result = run_host({"guard", "--limit-gb", "none", "--", "sh", "-c", command});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.out, "reading\n") << "the engine's input is empty, not its control channel";
}

TEST(Cli, ConfigCommandsAreWired) {
  const Workplace place;
  EXPECT_EQ(run_host({"config", "validate", place.path("c.yaml")}).exit_code, 0);
  const Result shown =
      run_host({"config", "show", place.path("c.yaml"), "--json", "--set", "linear.options.level=5"});
  ASSERT_EQ(shown.exit_code, 0) << shown.err;
  EXPECT_EQ(json::parse(shown.out)["linear"]["options"]["level"], 5)
      << "the option schema comes from the plugin";
  EXPECT_TRUE(json::accept(run_host({"config", "schema", "--json"}).out));
  place.write("d.yaml", "extends: [c.yaml]\nchat: {max_tokens: 99}\n");
  EXPECT_THAT(run_host({"config", "diff", place.path("c.yaml"), place.path("d.yaml")}).out,
              HasSubstr("chat.max_tokens"));
  place.write("bad.yaml",
              "extends: [c.yaml]\nchta: {}\nlinear: {plugin: launcher-fixture, options: {level: 10}}\n");
  const Result bad = run_host({"config", "validate", place.path("bad.yaml")});
  EXPECT_EQ(bad.exit_code, 2);
  EXPECT_THAT(bad.err, HasSubstr("did you mean 'chat'?"));
  EXPECT_THAT(bad.err, HasSubstr("bad.yaml:3:"));
}

TEST(Cli, PluginCommandsAreWired) {
  const std::string file = TETRAD_BINARY_DIR "/tests/launcher-plugins";
  const Result list = run_host({"plugins", "list", "--json", "--plugin-path", file});
  EXPECT_EQ(list.exit_code, 0);
  EXPECT_THAT(list.out, HasSubstr("launcher-fixture"));
  EXPECT_TRUE(json::accept(list.out));
  EXPECT_THAT(run_host({"plugins", "inspect", "launcher-fixture", "--plugin-path", file}).out,
              HasSubstr("level"));
  EXPECT_THAT(run_host({"plugins", "why", "linear", "--no-engine", "--plugin-path", file}).out,
              HasSubstr("launcher-fixture"));
}

TEST(Cli, WhyAddsWhatThePluginsSayThemselves) {
  const std::string folder = TETRAD_BINARY_DIR "/tests/launcher-plugins";
  const std::vector<std::string> common = {
      "plugins", "why", "linear", "--device", "cpu", "--engine", fake_engine_file(), "--plugin-path", folder};
  const Result text = run_host(common);
  EXPECT_EQ(text.exit_code, 0) << text.err;
  EXPECT_THAT(text.out,
              HasSubstr("launcher-fixture on cpu, path training: emulated (bf16 product): no FP4 unit\n"));
  std::vector<std::string> as_json = common;
  as_json.emplace_back("--json");
  const json document = json::parse(run_host(as_json).out);
  EXPECT_EQ(document["engine"]["answers"][0]["support"], "emulated");
  as_json[6] = "/nowhere";
  EXPECT_THAT(json::parse(run_host(as_json).out)["engine"]["problem"].get<std::string>(),
              HasSubstr("/nowhere"));
}

TEST(Cli, TokenizeSaysWhatIsWrong) {
  const Workplace place;
  const Result missing = run_host({"tokenize", "--model", place.path("nowhere")});
  EXPECT_EQ(missing.exit_code, 1);
  EXPECT_THAT(missing.err, HasSubstr("tokenizer.json"));
}

}  // namespace
}  // namespace tetrad::e2e

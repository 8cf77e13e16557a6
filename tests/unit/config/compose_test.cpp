// extends, several files, environment references and pins.
#include "unit/config/support.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <string>

namespace tetrad::config::test {
namespace {

using testing::HasSubstr;

TEST(Extends, MapsMergeScalarsAndListsReplace) {
  const Workplace place;
  place.write("base.yaml", required_keys + "chat: {seed: 1, turns: 2}\nguard: {sensors: [a, b]}\n");
  place.write("child.yaml", "extends: [base.yaml]\nchat: {turns: 3, top_k: 4}\nguard: {sensors: [c]}\n");
  const Resolved resolved = place.resolve({"child.yaml"});
  EXPECT_EQ(resolved.at("chat.seed").as_integer(), 1);
  EXPECT_EQ(resolved.at("chat.seed").origin().label(), "base.yaml:3:14");
  EXPECT_EQ(resolved.at("chat.turns").as_integer(), 3);
  EXPECT_EQ(resolved.at("chat.turns").origin().label(), "child.yaml:2:15");
  EXPECT_EQ(resolved.at("guard.sensors").items().size(), 1U);
  EXPECT_EQ(resolved.at("chat.max_tokens").origin().label(), "default");
  EXPECT_EQ(resolved.files, (std::vector<std::string>{"child.yaml", "base.yaml"}));
}

TEST(Extends, PathsAreRelativeToTheFileThatNamesThem) {
  const Workplace place;
  place.write("shared/base.yaml", "extends: more/deep.yaml\n");
  place.write("shared/more/deep.yaml", required_keys);
  place.write("configs/x/child.yaml", "extends: [../../shared/base.yaml]\n");
  const Resolved resolved = place.resolve({"configs/x/child.yaml"});
  EXPECT_EQ(resolved.at("linear.plugin").origin().label(), "shared/more/deep.yaml:1:18");
}

TEST(Extends, ADiamondIsNoConflictWhereOneSideOnlyInherits) {
  const Workplace place;
  place.write("root.yaml", required_keys + "chat: {seed: 1, turns: 1}\n");
  place.write("left.yaml", "extends: [root.yaml]\nchat: {seed: 2}\n");
  place.write("right.yaml", "extends: [root.yaml]\nchat: {turns: 3}\n");
  for (const char* order : {"[left.yaml, right.yaml]", "[right.yaml, left.yaml]"}) {
    place.write("child.yaml", std::string("extends: ") + order + "\n");
    const Resolved resolved = place.resolve({"child.yaml"});
    EXPECT_EQ(resolved.at("chat.seed").as_integer(), 2) << order;
    EXPECT_EQ(resolved.at("chat.turns").as_integer(), 3) << order;
  }
  place.write("right.yaml", "extends: [root.yaml]\nchat: {seed: 4}\n");
  EXPECT_THAT(place.errors({"child.yaml"}), HasSubstr("two bases set 'chat.seed' differently"));
  place.write("child.yaml", "extends: [left.yaml, right.yaml]\nchat: {seed: 5}\n");
  EXPECT_EQ(place.resolve({"child.yaml"}).at("chat.seed").as_integer(), 5);
}

TEST(Extends, ThreeBasesAreComparedWithAllBefore) {
  const Workplace place;
  for (const char* name : {"a", "b", "c"}) {
    place.write(std::string(name) + ".yaml",
                required_keys + "chat: {seed: " + (name[0] == 'c' ? "2" : "1") + "}\n");
  }
  place.write("child.yaml", "extends: [a.yaml, b.yaml, c.yaml]\n");
  EXPECT_EQ(place.errors({"child.yaml"}),
            "child.yaml:1:27: two bases set 'chat.seed' differently: '1' at a.yaml:3:14 and '2' at "
            "c.yaml:3:14; set it in this "
            "file to choose");
}

TEST(Extends, ChainsAreBounded) {
  const Workplace place;
  for (int i = 0; i < 20; ++i) {
    place.write("c" + std::to_string(i) + ".yaml", "extends: [c" + std::to_string(i + 1) + ".yaml]\n");
  }
  place.write("c20.yaml", required_keys);
  EXPECT_THAT(place.errors({"c0.yaml"}), HasSubstr("c15.yaml:1:11: too many files"));
  EXPECT_EQ(place.errors({"c5.yaml"}), "");
}

TEST(Extends, AFileThroughALinkIsTheSameFile) {
  const Workplace place;
  place.write("loop.yaml", "extends: [link.yaml]\n");
  std::filesystem::create_symlink("loop.yaml", place.path("link.yaml"));
  EXPECT_THAT(place.errors({"loop.yaml"}),
              HasSubstr("extends goes round in a circle: loop.yaml -> link.yaml"));
}

TEST(Files, LaterOnesGoOverEarlierOnes) {
  const Workplace place;
  place.write("a.yaml", required_keys + "chat: {seed: 1, turns: 2}\n");
  place.write("b.yaml", "chat: {seed: 3}\n");
  const Resolved resolved = place.resolve({"a.yaml", "b.yaml"});
  EXPECT_EQ(resolved.at("chat.seed").as_integer(), 3);
  EXPECT_EQ(resolved.at("chat.turns").as_integer(), 2);
}

TEST(Files, WhatCannotBeReadIsNamed) {
  const Workplace place;
  place.write("folder/x", "");
  EXPECT_EQ(place.errors({"absent.yaml"}), "absent.yaml: cannot read: no such file");
  EXPECT_EQ(place.errors({"folder"}), "folder: cannot read: is a folder");
  // A pipe that a file names could keep the reader waiting for ever.
  ASSERT_EQ(::mkfifo(place.path("pipe").c_str(), 0600), 0);
  place.write("waits.yaml", "extends: [pipe]\n" + required_keys);
  EXPECT_EQ(place.errors({"waits.yaml"}), "waits.yaml:1:11: cannot read 'pipe': is not a regular file");
  place.write("big.yaml", "# " + std::string(2 << 20, 'x'));
  EXPECT_EQ(place.errors({"big.yaml"}),
            "big.yaml: the text is 1048584 bytes long; a config has at most 1048576");
}

TEST(Plugins, AnotherPluginDropsTheFormerOptionsWithAWarning) {
  const Workplace place;
  place.write("c.yaml", "linear: {plugin: backend-x, options: {level: 4}}\nkv_cache: {plugin: cache-x}\n");
  const Resolved resolved = place.resolve({"c.yaml"}, {"linear.plugin=backend-y", "linear.options.groups=2"});
  EXPECT_EQ(resolved.at("linear.options").entries().size(), 1U);
  EXPECT_EQ(resolved.at("linear.options.groups").as_integer(), 2);
  ASSERT_EQ(resolved.warnings.size(), 1U);
  EXPECT_EQ(resolved.warnings[0].to_string(),
            "c.yaml:1:29: warning: these options are for plugin 'backend-x' and are dropped: --set #1 "
            "chooses 'backend-y'");
  // The same plugin again keeps them; the order of --set arguments does not matter.
  EXPECT_EQ(place.resolve({"c.yaml"}, {"linear.plugin=backend-x"}).at("linear.options.level").as_integer(),
            4);
  EXPECT_EQ(place.resolve({"c.yaml"}, {"linear.options.groups=3", "linear.plugin=backend-y"})
                .at("linear.options.groups")
                .as_integer(),
            3);
}

TEST(Plugins, RefusedOnesAreErrorsAtTheirPlaceWithTheirExitCode) {
  const Workplace place;
  place.write("c.yaml",
              "linear: {plugin: backend-absent, options: {anything: 1}}\nkv_cache: {plugin: cache-x}\n");
  try {
    place.resolve({"c.yaml"});
    FAIL() << "no error";
  } catch (const ConfigError& e) {
    EXPECT_STREQ(e.what(), "c.yaml:1:18: [plugin] no plugin 'backend-absent'");
    EXPECT_EQ(e.code(), ExitCode::plugin_refused);
  }
  try {
    place.resolve({"c.yaml"}, {"chat.seed=x"});
    FAIL() << "no error";
  } catch (const ConfigError& e) {
    EXPECT_EQ(e.code(), ExitCode::usage) << "the config itself is wrong too";
    EXPECT_EQ(e.errors().size(), 2U);
  }
}

TEST(Plugins, UnknownSchemasLeaveOptionsUnchecked) {
  const Workplace place;
  place.write("c.yaml",
              "linear: {plugin: elsewhere, options: {a: 1, b: [x]}}\nkv_cache: {plugin: cache-x}\n");
  const Resolved resolved = place.resolve({"c.yaml"}, {"linear.options.c=true", "linear.options.d=010"});
  EXPECT_EQ(resolved.unchecked, (std::vector<std::string>{"linear.options"}));
  EXPECT_EQ(resolved.at("linear.options.a").as_integer(), 1);
  EXPECT_TRUE(resolved.at("linear.options.c").as_bool());
  EXPECT_EQ(resolved.at("linear.options.d").as_string(), "010");
}

TEST(Plugins, RenamedOptionsAreMovedWithAWarning) {
  const Workplace place;
  place.write("c.yaml",
              "linear: {plugin: backend-x, options: {cache: false}}\nkv_cache: {plugin: cache-x}\n");
  const Resolved resolved = place.resolve({"c.yaml"});
  EXPECT_FALSE(resolved.at("linear.options.eval_cache").as_bool());
  EXPECT_EQ(resolved.at("linear.options").get("cache"), nullptr);
  ASSERT_EQ(resolved.warnings.size(), 1U);
  EXPECT_EQ(resolved.warnings[0].to_string(),
            "c.yaml:1:39: warning: 'linear.options.cache' is now called 'linear.options.eval_cache'");
}

TEST(Environment, ReferencesAreReplacedAndTypedByTheSchema) {
  const Workplace place;
  place.write(
      "c.yaml",
      required_keys +
          "guard: {limit_gb: \"${env:TETRAD_EIGHT}\", sensors: [\"${env:TETRAD_WORD}\"]}\n"
          "chat:\n  prompt: a ${env:TETRAD_WORD} and ${env:NOT_SET:-b:-c}\n  seed: ${env:TETRAD_EIGHT}\n"
          "  system: ${env:TETRAD_EIGHT}\n  followup_prompt: $${env:TETRAD_WORD} $5 $$ ${env:TETRAD_EMPTY}.\n"
          "  ignore_eos: ${env:NOT_SET:-true}\n");
  const Resolved resolved = place.resolve({"c.yaml"});
  EXPECT_EQ(resolved.at("guard.limit_gb").as_number(), 8.0);
  EXPECT_EQ(resolved.at("guard.sensors").items()[0].as_string(), "word");
  EXPECT_EQ(resolved.at("chat.prompt").as_string(), "a word and b:-c");
  EXPECT_EQ(resolved.at("chat.prompt").origin().label(), "c.yaml:5:11 (env TETRAD_WORD, NOT_SET)");
  EXPECT_EQ(resolved.at("chat.seed").as_integer(), 8);
  EXPECT_EQ(resolved.at("chat.system").as_string(), "8") << "text where the schema says text";
  EXPECT_EQ(resolved.at("chat.followup_prompt").as_string(), "${env:TETRAD_WORD} $5 $$ .");
  EXPECT_TRUE(resolved.at("chat.ignore_eos").as_bool());
  EXPECT_EQ(place.resolve({"c.yaml"}, {"chat.prompt=${env:TETRAD_WORD}!"}).at("chat.prompt").as_string(),
            "word!");
}

TEST(Environment, ItsTextIsNotReadAsYaml) {
  const Workplace place;
  Surroundings surroundings = place.surroundings();
  surroundings.environment = [](const std::string&) {
    return std::optional<std::string>("[a]: \"b\" ${env:X} # {");
  };
  place.write("c.yaml", required_keys + "chat: {prompt: \"${env:P}\"}\n");
  EXPECT_EQ(
      resolve(std::vector<std::string>{"c.yaml"}, {}, lookup, surroundings).at("chat.prompt").as_string(),
      "[a]: \"b\" ${env:X} # {");
}

TEST(Environment, BytesThatAreNotTextAreRefused) {
  const Workplace place;
  place.write("c.yaml", required_keys + "chat: {prompt: \"${env:TETRAD_BYTES}\"}\n");
  EXPECT_EQ(place.errors({"c.yaml"}),
            "c.yaml:3:16: the value of environment variable 'TETRAD_BYTES' is not valid UTF-8");
}

TEST(Pin, OverridesToAnotherValueAreRefusedWithTheWayOut) {
  const Workplace place;
  place.write("fp2.yaml",
              required_keys + "pin:\n  path: \"this config is training-path only; use bridge.yaml\"\n");
  EXPECT_EQ(place.errors({"fp2.yaml"}, {"path=bridge"}),
            "--set path=bridge: 'path' is pinned to 'training' by fp2.yaml:4:3: this config is training-path "
            "only; use "
            "bridge.yaml");
  EXPECT_EQ(place.errors({"fp2.yaml"}, {"path=training"}), "") << "the same value again is no override";
  place.write("child.yaml", "extends: [fp2.yaml]\npath: bridge\n");
  EXPECT_EQ(place.errors({"child.yaml"}),
            "child.yaml:2:7: 'path' is pinned to 'training' by fp2.yaml:4:3: this config is training-path "
            "only; use bridge.yaml");
  place.write("over.yaml", "path: bridge\n");
  EXPECT_THAT(place.errors({"fp2.yaml", "over.yaml"}), HasSubstr("over.yaml:1:7: 'path' is pinned"));
}

TEST(Pin, TheValueIsWhatTheFileAndItsBasesSay) {
  const Workplace place;
  place.write("base.yaml", required_keys + "chat: {seed: 1}\n");
  place.write("pinning.yaml", "extends: [base.yaml]\nchat: {seed: 2}\npin: {chat.seed: no, guard: no}\n");
  EXPECT_EQ(place.errors({"pinning.yaml"}), "");
  EXPECT_EQ(place.errors({"pinning.yaml"}, {"chat.seed=2", "guard.over_secs=0"}), "");
  EXPECT_EQ(place.errors({"pinning.yaml"}, {"chat.seed=1"}),
            "--set chat.seed=1: 'chat.seed' is pinned to '2' by pinning.yaml:3:7: no");
  EXPECT_EQ(place.errors({"pinning.yaml"}, {"guard.over_secs=0.5"}),
            "--set guard.over_secs=0.5: 'guard.over_secs' is pinned to '0.0' by pinning.yaml:3:22: no");
}

TEST(PluginSearchPaths, AreTypedAndAbsolute) {
  const Workplace place;
  place.write("configs/plug/x", "");
  place.write("configs/c.yaml", "plugins: {path: [plug, /abs]}\n");
  const auto paths = [&](const std::vector<std::string>& sets) {
    return plugin_search_paths(
        compose(std::vector<std::string>{"configs/c.yaml"}, sets, place.surroundings()));
  };
  EXPECT_EQ(paths({}), (std::vector<std::string>{place.path("configs/plug"), "/abs"}));
  EXPECT_EQ(paths({"plugins.path=[/b]"}), (std::vector<std::string>{"/b"}));
  EXPECT_EQ(paths({"plugins.path=/b"}), std::vector<std::string>{}) << "not a list: validate() says so";
}

TEST(ChosenPlugins, AreKnownBeforeValidation) {
  const Workplace place;
  place.write("c.yaml", required_keys + "chta: 1\n");
  const auto chosen =
      chosen_plugins(compose(std::vector<std::string>{"c.yaml"},
                             std::vector<std::string>{"linear.plugin=\"b\""}, place.surroundings()));
  ASSERT_EQ(chosen.size(), 2U);
  EXPECT_EQ(chosen[0].kind, "linear");
  EXPECT_EQ(chosen[0].id, "b");
  EXPECT_EQ(chosen[1].id, "cache-x");
}

}  // namespace
}  // namespace tetrad::config::test

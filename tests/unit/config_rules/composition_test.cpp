// How files, --set arguments, the environment, pins and plugin options make one config, and the exact errors.
#include "rules_support.h"

#include <gtest/gtest.h>

namespace tetrad::config {
namespace {

TEST(Composition, ALaterLayerReplacesScalarsAndListsAndMergesMaps) {
  const Folder folder;
  folder.write("base.yaml", both_plugins + "chat: {turns: 2, top_k: 5}\nguard: {sensors: [a, b]}\n");
  folder.write("sub/child.yaml", "extends: [../base.yaml]\nchat: {turns: 3}\nguard: {sensors: [c]}\n");
  const Resolved resolved = folder.resolve({"sub/child.yaml"}, {"chat.top_k=7", "chat.top_k=8"});
  EXPECT_EQ(resolved.at("chat.turns").as_integer(), 3);
  EXPECT_EQ(resolved.at("chat.turns").origin().label(), "sub/child.yaml:2:15");
  EXPECT_EQ(resolved.at("chat.top_k").as_integer(), 8);
  EXPECT_EQ(resolved.at("chat.top_k").origin().label(), "--set #2");
  EXPECT_EQ(resolved.at("guard.sensors").items().size(), 1u);
  EXPECT_EQ(resolved.at("linear.plugin").origin().label(), "base.yaml:1:18");
  EXPECT_EQ(resolved.at("chat.seed").origin().label(), "default");
}

TEST(Composition, AllErrorsAtOnceEachAtItsPlace) {
  const Folder folder;
  folder.write("c.yaml",
               "path: bridg\n"
               "chat:\n"
               "  max_tokns: 3\n"
               "  top_p: 1.5\n"
               "  ignore_eos: no\n"
               "  seed: 010\n"
               "  seed: 2\n"
               "linear: {plugin: rich, options: {level: 10, cache: 1}}\n"
               "kv_cache:\n");
  EXPECT_EQ(
      folder.errors({"c.yaml"}),
      "c.yaml:1:7: path: 'bridg' is not one of training, bridge; did you mean 'bridge'?\n"
      "c.yaml:3:3: unknown key 'max_tokns' in chat; did you mean 'max_tokens'?\n"
      "c.yaml:4:10: chat.top_p: 1.5 is out of range; expected a number > 0 and <= 1\n"
      "c.yaml:5:15: chat.ignore_eos: expected true or false, got 'no'; YAML 1.2 has no other booleans\n"
      "c.yaml:6:9: '010' is ambiguous (some readers take a leading zero for octal); write it without the "
      "leading zero, or in quotes if it is text\n"
      "c.yaml:7:3: duplicate key 'seed'; first set at c.yaml:6:3\n"
      "c.yaml:8:41: linear.options.level: 10 is out of range; expected an integer >= 0 and <= 9\n"
      "c.yaml:8:52: linear.options.cache: expected true or false, got the number 1\n"
      "c.yaml:9:1: kv_cache: has no value; write {} for an empty map");
}

TEST(Composition, BasesThatDisagreeAndCirclesAreErrors) {
  const Folder folder;
  folder.write("one.yaml", both_plugins + "chat: {turns: 2}\n");
  folder.write("two.yaml", "chat: {turns: 3}\n");
  folder.write("both.yaml", "extends: [one.yaml, two.yaml]\n");
  folder.write("chosen.yaml", "extends: [one.yaml, two.yaml]\nchat: {turns: 4}\n");
  EXPECT_EQ(folder.errors({"both.yaml"}),
            "both.yaml:1:21: two bases set 'chat.turns' differently: '2' at one.yaml:3:15 and '3' at "
            "two.yaml:1:15; set it in this file to choose");
  EXPECT_EQ(folder.resolve({"chosen.yaml"}).at("chat.turns").as_integer(), 4);

  folder.write("loop.yaml", both_plugins + "extends: [pool.yaml]\n");
  folder.write("pool.yaml", "extends: [loop.yaml]\n");
  EXPECT_EQ(folder.errors({"loop.yaml"}),
            "pool.yaml:1:11: extends goes round in a circle: loop.yaml -> pool.yaml -> loop.yaml");
}

TEST(Composition, TheSchemaTypesASetArgument) {
  const Folder folder;
  folder.write("c.yaml", both_plugins);
  const Resolved resolved =
      folder.resolve({"c.yaml"}, {"chat.prompt=42", "chat.system='7'", "guard.limit_gb=8", "run.dir=null",
                                  "eval.limit=null", "model.prefill_chunk=1", "linear.options.label=10"});
  EXPECT_EQ(resolved.at("chat.prompt").as_string(), "42");
  EXPECT_EQ(resolved.at("chat.system").as_string(), "7");
  EXPECT_EQ(resolved.at("guard.limit_gb").kind(), Kind::number);
  EXPECT_TRUE(resolved.at("run.dir").is_null());
  EXPECT_TRUE(resolved.at("eval.limit").is_null());
  EXPECT_EQ(resolved.at("model.prefill_chunk").as_integer(), 1);
  EXPECT_EQ(resolved.at("linear.options.label").as_string(), "10");

  EXPECT_EQ(folder.errors({"c.yaml"}, {"chat.max_token=3"}),
            "--set chat.max_token=3: unknown key 'max_token' in chat; did you mean 'chat.max_tokens'?");
  EXPECT_EQ(folder.errors({"c.yaml"}, {"model.prefill_chunk=0"}),
            "--set model.prefill_chunk=0: model.prefill_chunk: 0 is out of range; expected an integer >= 1");
  EXPECT_EQ(folder.errors({"c.yaml"}, {"chat.max_tokens=null"}),
            "--set chat.max_tokens=null: chat.max_tokens: cannot be null; expected an integer >= 1");
}

TEST(Composition, APinnedKeyKeepsItsValue) {
  const Folder folder;
  folder.write("pinned.yaml", both_plugins + "path: training\npin:\n  path: use another config\n");
  EXPECT_EQ(folder.errors({"pinned.yaml"}, {"path=bridge"}),
            "--set path=bridge: 'path' is pinned to 'training' by pinned.yaml:5:3: use another config");
  EXPECT_EQ(folder.errors({"pinned.yaml"}, {"path=training"}), "");
  folder.write("child.yaml", "extends: [pinned.yaml]\npath: bridge\n");
  EXPECT_EQ(folder.errors({"child.yaml"}),
            "child.yaml:2:7: 'path' is pinned to 'training' by pinned.yaml:5:3: use another config");
}

TEST(Composition, EnvironmentValuesAreTypedBySchema) {
  const Folder folder;
  folder.write("c.yaml",
               both_plugins + "guard: {limit_gb: \"${env:LIMIT}\"}\nchat: {seed: \"${env:SEED:-9}\"}\n");
  const Resolved resolved = folder.resolve({"c.yaml"});
  EXPECT_EQ(resolved.at("guard.limit_gb").as_number(), 12.5);
  EXPECT_EQ(resolved.at("chat.seed").as_integer(), 9);
  folder.write("unset.yaml", both_plugins + "chat: {prompt: \"${env:SEED}\"}\n");
  EXPECT_EQ(folder.errors({"unset.yaml"}),
            "unset.yaml:3:16: environment variable 'SEED' is not set; set it, or write a default: "
            "${env:SEED:-default}");
}

TEST(Composition, OptionsBelongToTheirPlugin) {
  const Folder folder;
  folder.write("c.yaml", "linear: {plugin: rich, options: {level: 4}}\nkv_cache: {plugin: plain}\n");
  const Resolved resolved = folder.resolve({"c.yaml"});
  EXPECT_EQ(resolved.at("linear.options.level").as_integer(), 4);
  EXPECT_TRUE(resolved.at("linear.options.cache").as_bool());
  EXPECT_EQ(resolved.at("linear.options.growth").as_number(), 1.5);

  const Resolved other = folder.resolve({"c.yaml"}, {"linear.plugin=plain"});
  EXPECT_TRUE(other.at("linear.options").entries().empty());
  ASSERT_EQ(other.warnings.size(), 1u);
  EXPECT_EQ(
      other.warnings[0].to_string(),
      "c.yaml:1:24: warning: these options are for plugin 'rich' and are dropped: --set #1 chooses 'plain'");
  EXPECT_EQ(
      folder.errors({"c.yaml"}, {"kv_cache.options.x=1"}),
      "--set kv_cache.options.x=1: unknown key 'x' in kv_cache.options (plugin plain); it takes no keys");
  EXPECT_EQ(folder.errors({"c.yaml"}, {"linear.plugin=none"}),
            "--set linear.plugin=none: [plugin] there is no plugin 'none'");
}

TEST(Composition, AnAliasBombIsCheapAndRefused) {
  const Folder folder;
  std::string text = both_plugins + "a0: &a0 [x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 30; ++i) {
    const std::string before = "*a" + std::to_string(i - 1);
    text += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + before;
    for (int k = 0; k < 8; ++k) text += ", " + before;
    text += "]\n";
  }
  folder.write("bomb.yaml", text);
  EXPECT_NE(folder.errors({"bomb.yaml"}).find("more than 50000 values, aliases expanded"), std::string::npos);
}

}  // namespace
}  // namespace tetrad::config

// --set arguments: typed by the schema, never by the look of the text or the value that stood there.
#include "unit/config/support.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace tetrad::config::test {
namespace {

using testing::HasSubstr;

class Set : public testing::Test {
 protected:
  void SetUp() override { place.write("c.yaml", required_keys); }
  Node value(const std::string& path, const std::string& text) const {
    return place.resolve({"c.yaml"}, {path + "=" + text}).at(path);
  }
  std::string errors(const std::vector<std::string>& sets) const { return place.errors({"c.yaml"}, sets); }
  Workplace place;
};

TEST_F(Set, TextIsTakenAsItStands) {
  for (const char* text :
       {"hello",    "8",   "010",  "0x10",   "true",       "no",         "[a, b]",       "{a: b}",
        "a: b # c", "- x", "*a",   "&b",     "!c",         " lead",      "trail ",       "x=y",
        "~",        "",    "it's", "\"half", "say \"hi\"", "'a' or 'b'", "\xE4\xBD\xA0", "a\nb",
        "%x",       "@",   "|"}) {
    const Node node = value("chat.prompt", text);
    ASSERT_EQ(node.kind(), Kind::string) << text;
    EXPECT_EQ(node.as_string(), text);
    EXPECT_EQ(node.origin().label(), "--set #1");
  }
}

TEST_F(Set, QuotesAroundTheWholeAreYamls) {
  EXPECT_EQ(value("chat.prompt", "\"8\"").as_string(), "8");
  EXPECT_EQ(value("chat.prompt", "'it''s'").as_string(), "it's");
  EXPECT_EQ(value("chat.prompt", "\"a\\nb\"").as_string(), "a\nb");
  EXPECT_EQ(value("chat.prompt", "'null'").as_string(), "null");
  EXPECT_EQ(value("chat.prompt", "\"'x'\"").as_string(), "'x'");
  EXPECT_EQ(value("chat.prompt", "\"").as_string(), "\"");
  EXPECT_EQ(value("path", "\"bridge\"").as_string(), "bridge");
}

TEST_F(Set, NullIsForNullableKeys) {
  EXPECT_TRUE(value("chat.prompt", "null").is_null());
  EXPECT_TRUE(value("model.max_context", "null").is_null());
  EXPECT_EQ(value("chat.followup_prompt", "null").as_string(), "null");
  EXPECT_EQ(errors({"chat.seed=null"}),
            "--set chat.seed=null: chat.seed: cannot be null; expected an integer");
}

TEST_F(Set, OtherTypesAreReadByTheirRules) {
  EXPECT_EQ(value("chat.seed", "-5").as_integer(), -5);
  EXPECT_EQ(value("chat.temperature", "1").kind(), Kind::number);
  EXPECT_EQ(value("chat.temperature", "1").as_number(), 1.0);
  EXPECT_TRUE(value("chat.ignore_eos", "true").as_bool());
  EXPECT_EQ(value("guard.limit_gb", "auto").as_string(), "auto");
  EXPECT_EQ(value("guard.limit_gb", "7.5").as_number(), 7.5);
  EXPECT_EQ(value("model.device", "cuda:3").as_string(), "cuda:3");
  EXPECT_EQ(value("guard.sensors", "[a, \"b c\"]").items().size(), 2U);
  EXPECT_EQ(value("guard.sensors", "[]").items().size(), 0U);
  EXPECT_EQ(value("linear.options.level", "5").as_integer(), 5);
  EXPECT_EQ(value("linear.options.label", "5").as_string(), "5") << "typed by the plugin's schema";
  EXPECT_EQ(value("linear.options.scale", "5").kind(), Kind::number);
}

TEST_F(Set, WrongTypesAreNamed) {
  EXPECT_EQ(errors({"chat.seed=010"}),
            "--set chat.seed=010: chat.seed: '010' is ambiguous (some readers take a leading zero for "
            "octal); write it without "
            "the leading zero, or in quotes if it is text");
  EXPECT_EQ(errors({"chat.seed=\"1\""}),
            "--set chat.seed=\"1\": chat.seed: expected an integer, got '1' (text); take the quotes away");
  EXPECT_EQ(errors({"chat.ignore_eos=yes"}),
            "--set chat.ignore_eos=yes: chat.ignore_eos: expected true or false, got 'yes'; YAML 1.2 has no "
            "other booleans");
  EXPECT_EQ(errors({"chat.turns="}), "--set chat.turns=: chat.turns: has no value; expected an integer >= 1");
  EXPECT_EQ(errors({"guard.sensors=a"}),
            "--set guard.sensors=a: guard.sensors: expected a list of texts, got 'a'; write [a]");
  EXPECT_THAT(errors({"guard.sensors=[a"}), HasSubstr("--set guard.sensors=[a: YAML syntax: "));
  EXPECT_EQ(errors({"linear.options.level=9"}),
            "--set linear.options.level=9: linear.options.level: 9 is out of range; expected an integer >= 0 "
            "and <= 8");
}

TEST_F(Set, PathsMustBeInTheSchema) {
  EXPECT_EQ(errors({"chat.max_token=8"}),
            "--set chat.max_token=8: unknown key 'max_token' in chat; did you mean 'chat.max_tokens'?");
  EXPECT_EQ(errors({"seed=8"}),
            "--set seed=8: unknown key 'seed' at the top level; did you mean 'chat.seed' or 'train.seed'?");
  EXPECT_EQ(errors({"linear.options.lvl=8"}),
            "--set linear.options.lvl=8: unknown key 'lvl' in linear.options (plugin backend-x); valid keys: "
            "eval_cache, "
            "block_size, level, scale, mode, label");
  EXPECT_EQ(errors({"chat.seed.x=1"}), "--set chat.seed.x=1: chat.seed: expected an integer, got a map");
  EXPECT_EQ(errors({"chat"}), "--set chat: expected PATH=VALUE, such as chat.max_tokens=64");
  EXPECT_EQ(errors({"=1"}),
            "--set =1: '' is not a path of keys with dots between them, such as chat.max_tokens");
  EXPECT_EQ(errors({"chat..seed=1"}),
            "--set chat..seed=1: 'chat..seed' is not a path of keys with dots between them, such as "
            "chat.max_tokens");
  EXPECT_EQ(errors({"extends=x.yaml"}),
            "--set extends=x.yaml: 'extends' belongs into a file and cannot be set on the command line");
  EXPECT_EQ(errors({"pin.path=x"}),
            "--set pin.path=x: 'pin' belongs into a file and cannot be set on the command line");
  EXPECT_EQ(errors({"chat=hello"}),
            "--set chat=hello: 'chat' is a section; set one of its keys (chat.KEY=VALUE) or a map "
            "(chat={key: value})");
  EXPECT_EQ(errors({"chat.prompt=\xFF"}), "--set ...: the argument is not valid UTF-8");
}

TEST_F(Set, MapsMergeIntoSections) {
  place.write("c.yaml", required_keys + "chat: {seed: 1}\n");
  const Resolved resolved =
      place.resolve({"c.yaml"}, {"chat={turns: 2, prompt: 'x'}", "linear.options={level: 1}"});
  EXPECT_EQ(resolved.at("chat.seed").as_integer(), 1);
  EXPECT_EQ(resolved.at("chat.turns").as_integer(), 2);
  EXPECT_EQ(resolved.at("linear.options.level").as_integer(), 1);
  EXPECT_EQ(resolved.at("linear.plugin").as_string(), "backend-x");
}

TEST_F(Set, TheLastOneWinsAndErrorsKeepTheirOrder) {
  const Resolved resolved = place.resolve({"c.yaml"}, {"chat.seed=1", "chat.seed=2"});
  EXPECT_EQ(resolved.at("chat.seed").as_integer(), 2);
  EXPECT_EQ(resolved.at("chat.seed").origin().label(), "--set #2");
  EXPECT_EQ(errors({"chat.turns=0", "chat.seed=x"}),
            "--set chat.turns=0: chat.turns: 0 is out of range; expected an integer >= 1\n"
            "--set chat.seed=x: chat.seed: expected an integer, got 'x'");
}

}  // namespace
}  // namespace tetrad::config::test

// What `config show` prints is a config again, and the same one: for random values of every type.
#include "config/diff.h"
#include "rules_support.h"

#include <gtest/gtest.h>

#include <random>

namespace tetrad::config {
namespace {

using nlohmann::json;

std::string random_text(std::mt19937& random) {
  static const std::vector<std::string> pieces = {"a",
                                                  "Z",
                                                  "0",
                                                  "10",
                                                  "-",
                                                  ".",
                                                  ":",
                                                  ": ",
                                                  " #",
                                                  "#",
                                                  "'",
                                                  "\"",
                                                  "\\",
                                                  "\n",
                                                  "\t",
                                                  " ",
                                                  "${",
                                                  "$${",
                                                  "$",
                                                  "{",
                                                  "}",
                                                  "[",
                                                  "]",
                                                  ",",
                                                  "*",
                                                  "&",
                                                  "!",
                                                  "|",
                                                  ">",
                                                  "%",
                                                  "@",
                                                  "`",
                                                  "~",
                                                  "null",
                                                  "true",
                                                  "no",
                                                  "<<",
                                                  "=",
                                                  "\xC3\xA9",
                                                  "\xF0\x9F\x9B\xB8",
                                                  "\xC2\x85",
                                                  "\xE2\x80\xA8",
                                                  "\xEF\xBB\xBF",
                                                  "1e3",
                                                  "0x1"};
  std::string text;
  for (std::size_t n = random() % 8; n > 0; --n) text += pieces[random() % pieces.size()];
  return text;
}

// A config in JSON, which is YAML too as far as quoting goes.
json random_config(std::mt19937& random) {
  const auto chance = [&] { return random() % 2 == 0; };
  json config = {{"linear", {{"plugin", "rich"}}}, {"kv_cache", {{"plugin", "plain"}}}};
  if (chance()) config["linear"]["options"]["growth"] = 1.0 + static_cast<double>(random()) / 7.0;
  if (chance()) config["linear"]["options"]["mode"] = "exact";
  if (chance()) config["chat"]["seed"] = static_cast<std::int64_t>(random()) - (std::int64_t{1} << 40);
  if (chance()) config["chat"]["temperature"] = static_cast<double>(random()) * 1e-12;
  if (chance()) config["chat"]["ignore_eos"] = chance();
  if (chance()) config["guard"]["limit_gb"] = chance() ? json("auto") : json(random() % 100 + 1);
  if (chance()) config["run"]["dir"] = nullptr;
  if (chance()) config["model"]["device"] = "cuda:" + std::to_string(random() % 12);
  return config;
}

TEST(RoundTrip, ShownConfigsResolveToThemselves) {
  std::mt19937 random(20261);
  const Folder folder;
  for (int i = 0; i < 300; ++i) {
    folder.write("c.yaml", random_config(random).dump());
    // Texts come through --set, where they are taken as they stand; `${` would be a reference.
    std::string prompt = "p" + random_text(random);
    prompt = escape_references(prompt);
    const Resolved first = folder.resolve({"c.yaml"}, {"chat.prompt=" + prompt});
    for (const ShowOrigins origins : {ShowOrigins::no, ShowOrigins::yes}) {
      const std::string shown = to_yaml(first.root, origins);
      folder.write("shown.yaml", shown);
      ASSERT_EQ(folder.errors({"shown.yaml"}), "") << shown;
      const Resolved second = folder.resolve({"shown.yaml"});
      ASSERT_TRUE(same_value(first.root, second.root)) << shown;
      ASSERT_TRUE(diff(first.root, second.root).empty());
      ASSERT_EQ(config_hash(first.root), config_hash(second.root));
    }
  }
}

TEST(RoundTrip, TheHashIsOfTheValuesAlone) {
  const Folder folder;
  folder.write("a.yaml", both_plugins + "chat: {turns: 1, seed: 5}\n");
  folder.write("b.yaml", "# another layout\nchat:\n  seed: 5\n" + both_plugins);
  const Resolved a = folder.resolve({"a.yaml"});
  EXPECT_EQ(config_hash(a.root), config_hash(folder.resolve({"b.yaml"}).root));
  const Resolved other = folder.resolve({"a.yaml"}, {"chat.seed=6"});
  EXPECT_NE(config_hash(a.root), config_hash(other.root));
  const std::vector<Change> changes = diff(a.root, other.root);
  ASSERT_EQ(changes.size(), 1u);
  EXPECT_EQ(changes[0].path, "chat.seed");
  EXPECT_EQ(changes[0].a->origin().label(), "a.yaml:3:24");
  EXPECT_EQ(changes[0].b->origin().label(), "--set #1");
}

TEST(RoundTrip, JsonForTheEngineHasEveryKeyAndPlainTypes) {
  const Folder folder;
  folder.write("c.yaml", both_plugins + "chat: {top_p: 1}\n");
  const json config = to_json(folder.resolve({"c.yaml"}).root);
  EXPECT_TRUE(config["chat"]["top_p"].is_number_float());
  EXPECT_TRUE(config["chat"]["prompt"].is_null());
  EXPECT_EQ(config["chat"]["max_tokens"], 24);
  EXPECT_EQ(config["model"]["prefill_chunk"], 2048);
  EXPECT_TRUE(config["eval"].contains("limit"));
  EXPECT_EQ(config["guard"]["limit_gb"], "none");
  EXPECT_EQ(config["linear"]["options"],
            json({{"cache", true}, {"level", 3}, {"growth", 1.5}, {"mode", "fast"}, {"label", "10"}}));
}

}  // namespace
}  // namespace tetrad::config

// Keys in which arms differ: which count, and which of them the comparison is about.
#include "parity/plan/differ.h"

#include "config/emit.h"
#include "config/resolve.h"
#include "support/temp_dir.h"

#include <gtest/gtest.h>

namespace tetrad::parity {
namespace {

using nlohmann::json;

json resolved(const std::vector<std::string>& sets) {
  const tetrad::test::TempDir folder;
  folder.write("c.yaml", "linear: {plugin: p}\nkv_cache: {plugin: k}\nmodel: {path: /m}\nrun: {dir: /r}\n");
  config::Surroundings surroundings;
  surroundings.current_directory = folder.path();
  return config::to_json(config::resolve(std::vector<std::string>{"c.yaml"}, sets, {}, surroundings).root);
}

std::string differences(const std::vector<std::string>& a, const std::vector<std::string>& b,
                        const Subject& subject) {
  std::string text;
  for (const Difference& d : differing_keys(resolved(a), resolved(b), subject))
    text += d.key + "=" + d.a.dump() + "/" + d.b.dump() + (d.swept ? " swept" : "") + "\n";
  return text;
}

TEST(Differ, SweptKeysAndTheirSections) {
  EXPECT_EQ(differences({}, {"path=bridge", "chat.system=x"}, {{"path"}, false}),
            "chat.system=null/\"x\"\npath=\"training\"/\"bridge\" swept\n");
  EXPECT_EQ(differences({}, {"linear.plugin=q", "linear.options.x=1"}, {{"linear.plugin"}, false}),
            "linear.options.x=null/1 swept\nlinear.plugin=\"p\"/\"q\" swept\n");
  EXPECT_EQ(differences({}, {"linear.options.x=1", "linear.options.xy=1"}, {{"linear.options.x"}, false}),
            "linear.options.x=null/1 swept\nlinear.options.xy=null/1\n");
}

TEST(Differ, WhatCannotChangeAResultIsLeftOut) {
  EXPECT_EQ(differences({},
                        {"guard.limit_gb=3", "run.dir=/other", "chat.temperature=1", "chat.max_tokens=3",
                         "bench.prefill=3", "eval.window=7", "parity.repeats=3", "parity.top_k=7",
                         "parity.sweep={include: [{path: bridge}]}", "parity.reference=x", "task=parity",
                         "train.steps=3", "optimizer.plugin=o", "parity.tolerance.kl=1", "plugins.path=[/p]"},
                        {{}, false}),
            "");
  EXPECT_EQ(
      differences({"parity.train_steps=2"}, {"parity.train_steps=2", "optimizer.plugin=o", "train.seed=3"},
                  {{"optimizer.plugin"}, false}),
      "optimizer.plugin=null/\"o\" swept\ntrain.seed=0/3\n");
}

TEST(Differ, ChatPromptsCountWhereTheyAreTheConversation) {
  EXPECT_EQ(differences({}, {"chat.turns=3"}, {{}, false}), "chat.turns=1/3\n");
  EXPECT_EQ(differences({"parity.prompts=[a]"}, {"parity.prompts=[a]", "chat.turns=3"}, {{}, false}), "");
}

TEST(Differ, SeveralConfigsAreAboutTheirNumerics) {
  EXPECT_EQ(differences({}, {"path=bridge", "linear.options.x=1", "model.path=/n", "model.dtype=float32"},
                        {{}, true}),
            "linear.options.x=null/1 swept\nmodel.dtype=\"bfloat16\"/\"float32\" swept\n"
            "model.path=\"/m\"/\"/n\"\npath=\"training\"/\"bridge\" swept\n");
  EXPECT_EQ(differences({}, {"path=bridge"}, {{}, false}), "path=\"training\"/\"bridge\"\n")
      << "one config: only what is swept";
}

TEST(Differ, AFileOfLogitsHasNoOtherKeys) {
  EXPECT_EQ(differences({"parity.logits_file=/f"}, {"path=bridge", "chat.system=x"}, {{"path"}, false}),
            "parity.logits_file=\"/f\"/null swept\n");
}

}  // namespace
}  // namespace tetrad::parity

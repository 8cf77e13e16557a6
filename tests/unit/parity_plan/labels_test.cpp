#include "parity/plan/labels.h"

#include <gtest/gtest.h>

namespace tetrad::parity {
namespace {

Named arm(std::vector<Assignment> values, std::string label = "", std::string file = "") {
  return {std::move(file), {std::move(label), std::move(values)}};
}

using Lines = std::vector<std::string>;

TEST(Labels, ShortestUnambiguousKeys) {
  EXPECT_EQ(
      make_labels({arm({{"path", "training"}, {"parity.feed", "chunk:64"}}), arm({{"path", "bridge"}})}),
      (Lines{"path=training feed=chunk:64", "path=bridge"}));
  EXPECT_EQ(make_labels({arm({{"linear.plugin", "a"}, {"kv_cache.plugin", "k"}})}),
            Lines{"linear=a kv_cache=k"});
  EXPECT_EQ(make_labels({arm({{"chat.seed", 1}, {"train.seed", 2}})}), Lines{"chat.seed=1 train.seed=2"});
  EXPECT_EQ(make_labels({arm({{"linear.options.eval_cache", true}})}), Lines{"eval_cache=true"});
  EXPECT_EQ(make_labels({arm({{"linear.options.x", 1}, {"kv_cache.options.x", 2}})}),
            Lines{"linear.x=1 kv_cache.x=2"});
}

TEST(Labels, OwnNamesFilesAndRepeats) {
  EXPECT_EQ(make_labels({arm({{"path", "a"}}, "mine"), arm({}), arm({}), arm({{"path", "b"}}, "mine")}),
            (Lines{"mine", "as configured", "as configured #2", "mine #2"}));
  EXPECT_EQ(make_labels({arm({}, "", "configs/fp2.yaml"), arm({{"run.threads", 2}}, "", "x/bf16.yaml")}),
            (Lines{"fp2", "bf16 threads=2"}));
  EXPECT_EQ(make_labels({arm({}, "", "a/c.yaml"), arm({}, "", "b/c.yaml")}), (Lines{"a/c.yaml", "b/c.yaml"}));
  EXPECT_EQ(make_labels({arm({{"model.path", "/long/way/to/model"}}),
                         arm({{"parity.logits_file", "/x/y.safetensors"}})}),
            (Lines{"path=model", "logits_file=y.safetensors"}));
}

TEST(Labels, LongValuesAreCutBetweenCharacters) {
  std::string word;
  for (int i = 0; i < 40; ++i) word += "字";
  const std::string label = make_labels({arm({{"chat.system", word}})}).front();
  EXPECT_TRUE(label.ends_with("字..."));
  EXPECT_LT(label.size(), 60U);
}

TEST(Labels, SlugsAreFolderNames) {
  EXPECT_EQ(make_slug(0, "path=training feed=chunk:64"), "00-training-chunk-64");
  EXPECT_EQ(make_slug(7, "mine / ../../x"), "07-mine-..-..-x");
  EXPECT_EQ(make_slug(123, "字"), "123");
  EXPECT_EQ(make_slug(1, "a=\x1b[31m b="), "01-31m");
  EXPECT_LT(make_slug(1, std::string(500, 'x')).size(), 60U);
}

}  // namespace
}  // namespace tetrad::parity

#include "parity/plan/settings.h"

#include "config/emit.h"
#include "config/resolve.h"
#include "support/error_text.h"
#include "support/temp_dir.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace tetrad::parity {
namespace {

using nlohmann::json;
using tetrad::test::error_text;

json resolved(const std::string& yaml) {
  const tetrad::test::TempDir folder;
  folder.write("c.yaml", "linear: {plugin: p}\nkv_cache: {plugin: k}\n" + yaml);
  config::Surroundings surroundings;
  surroundings.current_directory = folder.path();
  return config::to_json(config::resolve(std::vector<std::string>{"c.yaml"}, {}, {}, surroundings).root);
}

TEST(Settings, FeedModes) {
  EXPECT_EQ(parse_feed("off").mode, FeedMode::off);
  EXPECT_EQ(parse_feed("whole").mode, FeedMode::whole);
  EXPECT_EQ(parse_feed("turns").mode, FeedMode::turns);
  EXPECT_EQ(parse_feed("tokens").mode, FeedMode::tokens);
  EXPECT_EQ(parse_feed("chunk:64").mode, FeedMode::chunk);
  EXPECT_EQ(parse_feed("chunk:64").chunk, 64);
  for (const char* wrong :
       {"", "chunk", "chunk:", "chunk:0", "chunk:-1", "chunk:4x", "Off", "chunk:99999999999999999999"})
    EXPECT_NE(error_text([&] { parse_feed(wrong); }).find("is none of off, whole"), std::string::npos)
        << wrong;
}

TEST(Settings, DefaultsAreTheSchemas) {
  const Settings from_schema = read_settings(resolved("").at("parity"));
  const Settings own;
  EXPECT_EQ(from_schema.max_tokens, own.max_tokens);
  EXPECT_EQ(from_schema.feed_text, own.feed_text);
  EXPECT_EQ(from_schema.iterations, own.iterations);
  EXPECT_EQ(from_schema.layer_tokens, own.layer_tokens);
  EXPECT_EQ(from_schema.text_tokens, own.text_tokens);
  EXPECT_EQ(from_schema.window, own.window);
  EXPECT_EQ(from_schema.top_k, own.top_k);
  EXPECT_EQ(from_schema.repeats, own.repeats);
  EXPECT_EQ(from_schema.train_steps, own.train_steps);
  EXPECT_FALSE(from_schema.text || from_schema.logits_file || from_schema.continuation || from_schema.layers);
}

TEST(Settings, EveryKeyIsRead) {
  const Settings s = read_settings(
      resolved("parity: {prompts: [a, b], max_tokens: 3, continuation: c, feed: 'chunk:7', iterations: 2, "
               "layers: true,"
               " layer_tokens: 5, text: /t, text_tokens: 9, window: 8, top_k: 6, repeats: 4, train_steps: 11,"
               " logits_file: /l}")
          .at("parity"));
  EXPECT_EQ(s.prompts, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(s.max_tokens, 3);
  EXPECT_EQ(s.continuation, "c");
  EXPECT_EQ(s.feed.chunk, 7);
  EXPECT_EQ(s.iterations, 2);
  EXPECT_TRUE(s.layers);
  EXPECT_EQ(s.layer_tokens, 5);
  EXPECT_EQ(s.text, "/t");
  EXPECT_EQ(s.text_tokens, 9);
  EXPECT_EQ(s.window, 8);
  EXPECT_EQ(s.top_k, 6);
  EXPECT_EQ(s.repeats, 4);
  EXPECT_EQ(s.train_steps, 11);
  EXPECT_EQ(s.logits_file, "/l");
}

TEST(Settings, WrongTypesAreOneError) {
  EXPECT_NE(error_text([] {
              read_settings({{"max_tokens", "many"}});
            }).find("not readable"),
            std::string::npos);
}

TEST(Settings, AChunkHasAToken) {
  EXPECT_NE(error_text([] { resolved("parity: {feed: 'chunk:0'}"); }).find("at least one token"),
            std::string::npos);
}

TEST(Settings, PromptsOfTheConversation) {
  using Lines = std::vector<std::string>;
  EXPECT_EQ(prompts_of(resolved("parity: {prompts: [x]}\nchat: {prompt: y}")), Lines{"x"});
  EXPECT_EQ(prompts_of(resolved("chat: {prompt: y, turns: 3, followup_prompt: z}")), (Lines{"y", "z", "z"}));
  EXPECT_EQ(prompts_of(resolved("")), Lines{"Write one short sentence about UFO and you."});
}

}  // namespace
}  // namespace tetrad::parity
